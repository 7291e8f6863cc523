"""An NDJSON segment as its place, its name and its sidecar say it must be, checked while it is read."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import daedalus
from daedalus.ingestion.writers.ndjson_segment import read_rows, read_sidecar
from daedalus.ingestion.writers.rows_digest import RowsDigest
from daedalus.shared.errors import CorruptError, SchemaError
from daedalus.shared.partitioning import parse_partition_path
from daedalus.shared.schemas import CHANNELS, PARTITION_DTYPES, arrow_schema
from daedalus.shared.segment import SegmentFooter, SegmentName


class CheckedLines:
    """The rows of one NDJSON segment, to be read once.

    Parameters
    ----------
    segment
        The file.
    ready
        The source's directory of segments, so that the path below it tells channel and partition.

    Attributes
    ----------
    schema
        Of the rows.
    digest
        Of the rows read so far.

    Raises
    ------
    SchemaError
        If this version does not know what the segment holds.
    CorruptError
        If the segment is not what was written. Also while it is read.
    """

    def __init__(self, segment: Path, ready: Path) -> None:
        place = segment.relative_to(ready)
        self.path = segment
        self.name = SegmentName.parse(segment.name)
        self.channel = place.parts[0]
        columns = tuple(part.partition("=")[0] for part in place.parts[1:-1])
        if self.channel not in CHANNELS or not set(columns) <= set(PARTITION_DTYPES):
            raise SchemaError(f"{place.parent} is no channel and partition that this version knows")
        self.schema = arrow_schema(self.channel, columns)
        self.digest = RowsDigest()
        self._values = {name: str(value) for name, value in parse_partition_path(str(place)).items()}
        self._first = self._last = 0
        self._symbol = ""
        self._sidecar = read_sidecar(segment)
        version = self._sidecar.footer.schema_version if self._sidecar else CHANNELS[self.channel].version
        if version != CHANNELS[self.channel].version:
            raise SchemaError(
                f"schema version {version}; this version of Daedalus knows {CHANNELS[self.channel].version}"
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows. Once."""
        for batch in read_rows(self.path, self.schema):
            self._check_partition(batch)
            if not self.digest.rows:
                self._first, self._symbol = batch["collected_at"][0].as_py(), batch["symbol"][0].as_py()
            self._last = batch["collected_at"][-1].as_py()
            self.digest.add(batch)
            yield batch
        named = self.name.last_row - self.name.first_row + 1
        if self.digest.rows != named:
            raise CorruptError(f"{self.digest.rows} rows, by its name {named}")

    def footer(self) -> SegmentFooter:
        """Return the footer, once all rows are read. Without a sidecar the symbol is spelt as in the path."""
        sidecar = self._sidecar.footer if self._sidecar else None
        found = SegmentFooter(
            channel=self.channel,
            schema_version=CHANNELS[self.channel].version,
            writer_version=sidecar.writer_version if sidecar else daedalus.__version__,
            journal=self.name.journal,
            first_collected_at=self._first,
            last_collected_at=self._last,
            rows=self.digest.rows,
            symbol=sidecar.symbol if sidecar else self._symbol,
        )
        if sidecar and found != sidecar:
            raise CorruptError(f"its rows make {found}, its sidecar says {sidecar}")
        return found

    def _check_partition(self, batch: pa.RecordBatch) -> None:
        for name, value in self._values.items():
            found = [str(one) for one in pc.unique(batch[name]).to_pylist()]
            if found != [value]:
                raise CorruptError(f"{name} is {value} in the path and {', '.join(found)} in its rows")
