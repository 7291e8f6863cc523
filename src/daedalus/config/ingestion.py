"""Settings of recording: the queue, the writer and its segments."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from daedalus.config.base import Number, Section, WholeNumber, check_unique, rule
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS

PartitionColumn = Literal["exchange", "symbol", "year", "month", "day", "hour", "date"]
Compression = Literal["zstd", "snappy", "gzip", "none"]
GZIP_LEVEL_MAX = 9
#: The same list as `partitioning.DEFAULT_PARTITION_COLUMNS`, typed; a test compares them.
PARTITION_DEFAULT: list[PartitionColumn] = ["exchange", "symbol", "year", "month", "day", "hour"]
PARTITION_DOC = (
    "Directories of a path, outermost first; the values stand in the data too. Must name exchange, symbol and the day,"
    " as year, month and day or as `date`; hour may be left out."
)


def check_partition_columns(values: list[PartitionColumn]) -> list[PartitionColumn]:
    """Return a layout that tells market and day apart. Raises a `rule` error that names what is missing."""
    check_unique(values)
    wanted = ["exchange", "symbol"] if "date" in values else DEFAULT_PARTITION_COLUMNS[:5]
    missing = [name for name in wanted if name not in values]
    if missing:
        hint = (
            "" if "date" in values or missing[0] in ("exchange", "symbol") else " (or `date` for year, month and day)"
        )
        raise rule(f"lacks {', '.join(missing)}{hint}")
    for name, outer in (("month", ["year"]), ("day", ["year", "month"])):
        if name in values and not set(outer) <= set(values):
            raise rule(f"has {name} without {' and '.join(outer)}")
    return values


class IngestionConfig(Section):
    """From the collectors through the queue to segments on disk."""

    raw_format: Literal["parquet", "ndjson"] = Field(
        default="parquet",
        description=(
            "Format of segments. ndjson, lines of JSON, is the legacy one: much larger, and read by the ETL only after"
            " `daedalus convert --to parquet`."
        ),
    )
    batch_size: WholeNumber = Field(
        default=1000, ge=1, le=1_000_000, description="Events handed to the writer at once, at most."
    )
    flush_interval_seconds: Number = Field(
        default=5.0,
        ge=0.05,
        le=3600,
        description="Seconds between two syncs to disk: the most that a power cut can cost.",
    )
    queue_maxsize: WholeNumber = Field(
        default=50_000, ge=1, le=10_000_000, description="Events that may wait between collectors and writer."
    )
    queue_max_mb: WholeNumber = Field(
        default=256, ge=1, le=65_536, description="Memory that the waiting events may take, MiB."
    )
    queue_put_timeout_seconds: Number = Field(
        default=5.0,
        ge=0,
        le=600,
        description=(
            "Seconds that a collector waits for room in a full queue; then the newest events are dropped, counted and"
            " entered in the gap ledger. 0 drops at once."
        ),
    )
    segment_max_mb: WholeNumber = Field(
        default=50, ge=1, le=4096, description="Size of a segment, MiB; what is larger is split, by whole row groups."
    )
    journal_max_mb: WholeNumber = Field(
        default=64, ge=1, le=4096, description="Size of a journal, MiB, at which it is sealed before its time."
    )
    max_unsealed_seconds: Number = Field(
        default=3600.0,
        ge=1,
        le=86_400,
        description=(
            "Longest wait in seconds until rows stand in a segment, where the ETL can read them. A journal is also"
            " sealed at the end of each hour (UTC). Shorter makes more and smaller files."
        ),
    )
    parquet_compression: Compression = Field(default="zstd", description="Compression of segments.")
    parquet_compression_level: WholeNumber = Field(
        default=3,
        ge=1,
        le=22,
        description="Effort, for zstd (1 to 22) and gzip (1 to 9); snappy and none have no levels.",
    )
    partition_by: list[PartitionColumn] = Field(default=PARTITION_DEFAULT, description=PARTITION_DOC)
    stats_interval_seconds: Number = Field(
        default=60.0, ge=0.1, le=86_400, description="Seconds between two lines of statistics."
    )

    _check_partitions = field_validator("partition_by")(check_partition_columns)

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        if self.parquet_compression == "gzip" and self.parquet_compression_level > GZIP_LEVEL_MAX:
            raise rule(
                f"parquet_compression_level ({self.parquet_compression_level}) goes to {GZIP_LEVEL_MAX} for gzip",
                "parquet_compression_level",
                "parquet_compression",
            )
        return self
