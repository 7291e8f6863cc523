"""Segments: names, places and footer of the sealed, immutable Parquet files of bronze."""

import re
from dataclasses import dataclass
from pathlib import Path

from daedalus.shared.errors import SchemaError

RAW_TIER = "raw"
"""Default of `storage.paths.tier_raw`: bronze lives in `raw/active`, `raw/ready` and `raw/quarantine`."""
#: Prefix of Daedalus' own keys in a Parquet footer.
FOOTER_PREFIX = "daedalus."
_NAME = re.compile(
    r"segment_(?P<journal>[0-9TZ]+-[0-9a-f]{8})_(?P<first>\d{9})-(?P<last>\d{9})\.(?:parquet|ndjson(?:\.zst)?)"
)
_NUMBERS = ("schema_version", "first_collected_at", "last_collected_at", "rows")


@dataclass(frozen=True, order=True)
class SegmentName:
    """A segment's file name: the journal that it was sealed from and which rows of it, counted within its partition.

    The same journal always gives the same names, so that sealing may be repeated after a crash; another journal never
    does, so that nothing is overwritten. Names sort by time.
    """

    journal: str
    first_row: int
    last_row: int

    def file_name(self, suffix: str = "parquet") -> str:
        """Return the file name."""
        return f"segment_{self.journal}_{self.first_row:09d}-{self.last_row:09d}.{suffix}"

    @staticmethod
    def is_one(name: str) -> bool:
        """Return whether a file name is that of a segment."""
        return _NAME.fullmatch(name) is not None

    @classmethod
    def parse(cls, name: str) -> "SegmentName":
        """Return the parts of a file name. Raises `SchemaError` if it is none of ours."""
        match = _NAME.fullmatch(name)
        if not match:
            raise SchemaError(f"{name} is not the name of a segment")
        return cls(match["journal"], int(match["first"]), int(match["last"]))


def sidecar_path(segment: Path) -> Path:
    """Return where the footer of a segment stands whose format has no room for one (NDJSON)."""
    return segment.with_name(f"_{segment.name}.meta.json")


@dataclass(frozen=True)
class SegmentFooter:
    """What every segment says of itself, so that a catalogue can be rebuilt from the files alone.

    `symbol` is the exchange's own spelling (``BTC/USDT:USDT``), which the path's sanitised one hides.
    """

    channel: str
    schema_version: int
    writer_version: str
    journal: str
    first_collected_at: int
    last_collected_at: int
    rows: int
    symbol: str

    def metadata(self) -> dict[str, str]:
        """Return the footer's key-value pairs."""
        return {FOOTER_PREFIX + name: str(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, metadata: dict[bytes, bytes] | None) -> "SegmentFooter":
        """Read a footer back. Raises `SchemaError` when a key is missing."""
        pairs = {k.decode(): v.decode() for k, v in (metadata or {}).items()}
        try:
            got = {name: pairs[FOOTER_PREFIX + name] for name in cls.__dataclass_fields__}
        except KeyError as error:
            raise SchemaError(f"the Parquet footer has no {error}: not a segment of Daedalus") from None
        numbers = {name: int(got[name]) for name in _NUMBERS}
        return cls(**{**got, **numbers})  # type: ignore[arg-type]
