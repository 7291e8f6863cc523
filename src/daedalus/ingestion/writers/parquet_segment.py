"""One Parquet segment: rows in, a whole file with its footer out."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.ingestion.writers.encoding import ROW_GROUP_ROWS, parquet_options
from daedalus.shared.segment import SegmentFooter


class ParquetEncoder:
    """Encodes rows of one schema into a sink (`segment_file.Encoder`).

    Each call of `write` ends a row group; the first one's rows decide how columns are encoded.
    """

    def __init__(self, sink: pa.NativeFile, schema: pa.Schema, compression: str, level: int) -> None:
        self._sink = sink
        self._schema = schema
        self._compression, self._level = compression, level
        self._writer: pq.ParquetWriter | None = None

    @staticmethod
    def suffix(compression: str) -> str:
        """Return how file names end: the codec stands inside the file."""
        return "parquet"

    def write(self, rows: pa.Table) -> None:
        """Encode rows."""
        self._opened(rows).write_table(rows, row_group_size=ROW_GROUP_ROWS)

    def finish(self, footer: SegmentFooter) -> None:
        """Write the footer. The file is whole when the sink is closed."""
        writer = self._opened(self._schema.empty_table())
        writer.add_key_value_metadata(footer.metadata())
        writer.close()

    def close(self) -> None:
        """Let go of the file, whole or not."""
        if self._writer is not None:
            # Else it would try to write a footer when it is collected, into a file long closed.
            self._writer.is_open = False

    @staticmethod
    def publish_beside(temp: Path, final: Path, footer: SegmentFooter) -> None:
        """Do nothing: a Parquet file carries its own footer."""

    def _opened(self, rows: pa.Table) -> pq.ParquetWriter:
        if self._writer is None:
            options = parquet_options(self._schema, self._compression, self._level, rows)
            self._writer = pq.ParquetWriter(self._sink, self._schema, **options)
        return self._writer
