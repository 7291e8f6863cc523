"""Reading back what was recorded, for suites: plain rows of one channel, in arrival order."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def read_channel(base: Path, channel: str, source: str = "coinbase") -> "pl.DataFrame":
    """Return every row of a channel of a lake, by receive time; an empty frame where there is none."""
    import polars as pl

    files = sorted((base / "raw" / "ready" / source / channel).glob("**/*.parquet"))
    if not files:
        return pl.DataFrame()
    rows = pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in files])
    return rows.sort("collected_at", maintain_order=True)


def unfinished(base: Path) -> list[Path]:
    """Return temporary files and journals that are still there."""
    return sorted(p for p in base.rglob("*") if p.suffix in (".tmp", ".journal"))
