"""The table of writers, by `ingestion.raw_format`: one line each."""

from daedalus.ingestion.writers.log_writer import LogWriter
from daedalus.ingestion.writers.parquet_writer import JournaledWriter, StreamingParquetWriter

WRITERS: dict[str, type[JournaledWriter]] = {"parquet": StreamingParquetWriter, "ndjson": LogWriter}
