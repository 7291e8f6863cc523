"""`LogWriter`: events to the journal, full journals to lines of JSON: the legacy format."""

from daedalus.ingestion.writers.parquet_writer import JournaledWriter


class LogWriter(JournaledWriter):
    """Writes events durably and seals them into NDJSON segments, ``.ndjson`` or ``.ndjson.zst``.

    All that `JournaledWriter` promises holds: rows are durable in the journal, and only sealing encodes them otherwise.
    Arguments are the same. The lines are described in `ndjson_rows`, the file beside each segment in `ndjson_segment`.
    ``daedalus convert --to parquet`` turns such a lake into the one that `StreamingParquetWriter` would have written;
    features and bars read only that, and it takes some fiftieth of the room of plain lines for order books.
    """

    format = "ndjson"
    compressions = ("zstd", "none")
