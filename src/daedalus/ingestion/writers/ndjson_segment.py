"""One NDJSON segment: rows in, a file of lines out, with what a Parquet footer would say in a small file beside it.

Why beside it: people and tools read every line of such a file as a row, so no line can be anything else, and not every
line can repeat the schema's version. A zstd file could hide a note in a skippable frame, a plain one could not. So
``segment_X.ndjson.zst`` has ``_segment_X.ndjson.zst.meta.json``: the footer, and size and SHA-256 of the file, for JSON
without them would hide a flipped digit. Names that begin with ``_`` are passed over by readers of Hive layouts and by
every glob for ``segment_*`` or ``*.ndjson``. It is published first: where a segment is visible, its sidecar is there.

With zstd the file is a run of independent zstd frames of some MB each, which every reader of zstd takes as one stream.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from daedalus.ingestion.writers.ndjson_rows import from_lines, to_lines
from daedalus.shared.errors import CorruptError
from daedalus.shared.segment import SegmentFooter, sidecar_path
from daedalus.storage.local import publish

ZSTD_SUFFIX = ".zst"
#: Rows turned into Python objects at a time.
BATCH_ROWS = 1024
#: Lines gathered for one zstd frame, and bytes read at a time.
BLOCK_BYTES = 4 << 20
#: A longer line cannot be ours: a damaged file must not make a reader ask for gigabytes.
LINE_BYTES_MAX = 1 << 28


class Sidecar(msgspec.Struct, frozen=True):
    """What stands beside an NDJSON segment. `sha256` and `bytes` are of the file as it is stored."""

    footer: SegmentFooter
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, footer: SegmentFooter) -> "Sidecar":
        """Describe a finished file."""
        with path.open("rb") as file:
            return cls(footer, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


class NdjsonEncoder:
    """Encodes rows of one schema into a sink (`segment_file.Encoder`)."""

    def __init__(self, sink: pa.NativeFile, schema: pa.Schema, compression: str, level: int) -> None:
        self._sink = sink
        self._codec = pa.Codec("zstd", compression_level=level) if compression == "zstd" else None
        self._lines: list[bytes] = []

    @staticmethod
    def suffix(compression: str) -> str:
        """Return how file names end."""
        return "ndjson" + (ZSTD_SUFFIX if compression == "zstd" else "")

    def write(self, rows: pa.Table) -> None:
        """Encode rows."""
        for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
            self._lines.append(to_lines(batch))
            if sum(map(len, self._lines)) >= BLOCK_BYTES:
                self._end_block()
        self._end_block()

    def finish(self, footer: SegmentFooter) -> None:
        """Do nothing: lines need no end, and the footer goes into the sidecar."""

    def close(self) -> None:
        """Let go of what was not written."""
        self._lines.clear()

    @staticmethod
    def publish_beside(temp: Path, final: Path, footer: SegmentFooter) -> None:
        """Publish the sidecar of a finished file that is about to be published as `final`.

        One that an interrupted run left is replaced, as long as there is no segment that it could belong to.
        """
        if final.exists():
            return
        temp_sidecar = temp.with_name(f"{temp.stem}.meta{temp.suffix}")
        try:
            temp_sidecar.write_bytes(msgspec.json.encode(Sidecar.of(temp, footer)) + b"\n")
            publish(temp_sidecar, sidecar_path(final), overwrite=True)
        finally:
            temp_sidecar.unlink(missing_ok=True)

    def _end_block(self) -> None:
        block = b"".join(self._lines)
        self._lines.clear()
        if block:
            self._sink.write(self._codec.compress(block, asbytes=True) if self._codec else block)


def read_sidecar(segment: Path) -> Sidecar | None:
    """Return a segment's sidecar, None if it has none, after comparing the segment's bytes with it.

    Raises
    ------
    CorruptError
        If the sidecar cannot be read, or the segment is not what it describes.
    """
    path = sidecar_path(segment)
    if not path.exists():
        return None
    try:
        sidecar = msgspec.json.decode(path.read_bytes(), type=Sidecar)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptError(f"{path.name} cannot be read: {error}") from None
    found = Sidecar.of(segment, sidecar.footer)
    if found != sidecar:
        raise CorruptError(
            f"it has {found.bytes} bytes of SHA-256 {found.sha256[:12]}…, "
            f"written were {sidecar.bytes} of {sidecar.sha256[:12]}…"
        )
    return sidecar


def read_rows(segment: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield a segment's rows, at most `BATCH_ROWS` at a time.

    Raises
    ------
    CorruptError
        If the file cannot be decompressed, ends within a line, or a line does not fit the schema.
    """
    lines: list[bytes] = []
    size = 0
    for line in _lines(segment):
        lines.append(line)
        size += len(line)
        if len(lines) == BATCH_ROWS or size > BLOCK_BYTES:
            yield from_lines(lines, schema)
            lines, size = [], 0
    if lines:
        yield from_lines(lines, schema)


def _lines(segment: Path) -> Iterator[bytes]:
    rest = b""
    for chunk in _chunks(segment):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > LINE_BYTES_MAX:
            raise CorruptError(f"a line of more than {LINE_BYTES_MAX} bytes")
    if rest:
        raise CorruptError(f"the last line is not whole: {rest!r:.120}")


def _chunks(segment: Path) -> Iterator[bytes]:
    compression = "zstd" if segment.suffix == ZSTD_SUFFIX else None
    try:
        with pa.input_stream(str(segment), compression=compression) as stream:
            while chunk := stream.read(BLOCK_BYTES):
                yield chunk
    except OSError as error:
        # Arrow raises what zstd finds wrong as an OSError that has no number.
        if error.errno is not None:
            raise
        raise CorruptError(str(error)) from None
