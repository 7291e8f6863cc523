"""What to read, what to compute and where to write: plain values, made by the CLI from the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from daedalus.etl.features.config import FeatureConfig
from daedalus.shared.errors import ConfigError
from daedalus.shared.filters import FilterSpec
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PARTITION_COLUMNS
from daedalus.storage.base import Place, Storage
from daedalus.storage.local import as_storage

__all__ = ["FeatureConfig", "FilterSpec", "InputConfig", "OutputConfig", "OutputMode"]

OutputMode = Literal["overwrite_partition", "append", "error"]
PROCESSED = "processed"
READY = "ready"


@dataclass(frozen=True)
class InputConfig:
    """Where the lake is and which names its layers have.

    Parameters
    ----------
    base_dir
        Root of the lake that holds bronze: a directory, or a store.
    source
        The collector that recorded, such as ``coinbase`` or ``ccxt``.
    tier_raw
        Folder of bronze: ``{tier_raw}/ready/{source}/{channel}``.
    tier_features
        Folder of silver under ``processed/{source}/{channel}``.
    processed_base_dir
        Root of the lake that holds silver; None means `base_dir`.
    trades_base_dir
        Root of the lake that holds the trades of bronze; None means `base_dir`.
    """

    base_dir: Path | Storage
    source: str = "coinbase"
    tier_raw: str = "raw"
    tier_features: str = "silver"
    processed_base_dir: Path | Storage | None = None
    trades_base_dir: Path | Storage | None = None

    def bronze(self, channel: str) -> Place:
        """Return the folder of a channel's segments."""
        base = self.trades_base_dir if channel == "trades" and self.trades_base_dir else self.base_dir
        return Place(as_storage(base)) / self.tier_raw / READY / self.source / channel

    def silver(self, channel: str) -> Place:
        """Return the folder of a channel's features."""
        base = as_storage(self.processed_base_dir or self.base_dir)
        return Place(base) / PROCESSED / self.source / channel / self.tier_features


@dataclass(frozen=True)
class OutputConfig:
    """Where and how to write.

    Parameters
    ----------
    base_dir, source, tier_features, tier_aggregates
        As in `InputConfig`; `tier_aggregates` is the folder of gold under ``processed/{source}/bars``.
    partition_cols
        Directory levels, from the outside in. A partition of silver or gold may be coarser than an hour.
    mode
        ``overwrite_partition`` replaces the one file of each partition atomically; ``append`` adds a file beside those
        that are there (one of the same rows replaces itself); ``error`` refuses a partition that is there.
    compression, compression_level
        Codec of the Parquet pages. Level 1 costs a quarter less time than 3 and 8 % more space.

    Raises
    ------
    ConfigError
        If the columns do not keep markets and times apart.
    """

    base_dir: Path | Storage
    source: str = "coinbase"
    tier_features: str = "silver"
    tier_aggregates: str = "gold"
    partition_cols: Sequence[str] = tuple(DEFAULT_PARTITION_COLUMNS)
    mode: OutputMode = "overwrite_partition"
    compression: str = "zstd"
    compression_level: int = 1

    def __post_init__(self) -> None:
        """Check the layout."""
        object.__setattr__(self, "partition_cols", tuple(self.partition_cols))
        check_layout(self.partition_cols)
        if self.mode not in get_args(OutputMode):
            raise ConfigError(f"output mode {self.mode!r} is unknown: {', '.join(get_args(OutputMode))}")

    def silver(self, channel: str) -> Place:
        """Return the folder of a channel's features."""
        return Place(as_storage(self.base_dir)) / PROCESSED / self.source / channel / self.tier_features

    def gold(self) -> Place:
        """Return the folder of bars."""
        return Place(as_storage(self.base_dir)) / PROCESSED / self.source / "bars" / self.tier_aggregates


def check_layout(columns: Sequence[str]) -> None:
    """Refuse directory levels that would put two markets, or times that are not neighbours, into one directory."""
    known = set(columns)
    if unknown := [name for name in columns if name not in PARTITION_COLUMNS]:
        raise ConfigError(f"partition_cols: unknown {unknown[0]!r}, one of {', '.join(PARTITION_COLUMNS)}")
    if len(known) != len(columns):
        raise ConfigError("partition_cols: a column is named twice")
    if not {"exchange", "symbol"} <= known:
        raise ConfigError("partition_cols: exchange and symbol must be among them, or markets would share a file")
    for name, outer in (("month", {"year"}), ("day", {"year", "month"}), ("hour", {"year", "month", "day"})):
        if name in known and not outer <= known and not (name == "hour" and "date" in known):
            raise ConfigError(f"partition_cols: {name} needs {', '.join(sorted(outer))} beside it")
