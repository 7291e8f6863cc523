"""Writing partitions: atomic, laid out as declared, described by the file itself."""

import datetime as dt
import resource
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.etl.core import writing
from daedalus.etl.core.writing import FileFormat, OutputWriter, Written
from daedalus.etl.transforms.base import Market, Output
from daedalus.shared.errors import SchemaError, StorageError
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS, PartitionKey, parse_partition_path
from daedalus.shared.schemas import Column
from daedalus.storage.local import local_place
from tests.unit.etl.core.bronze import HOUR, T0, S

COLUMNS = (
    Column("at", "int64", "ns", "when"),
    Column("symbol", "string", "", "s"),
    Column("x", "float64", "bps", "what"),
)
OUTPUT = Output("", "rows.parquet", COLUMNS, "at", (("fingerprint", "abc"),))
MARKET = Market("coinbase", "BTC-USD")


def rows(times: Sequence[int]) -> pa.RecordBatch:
    return pa.record_batch(
        [times, ["BTC-USD"] * len(times), [float(i) for i in range(len(times))]], schema=OUTPUT.schema
    )


def writer(
    root: Path,
    written: list[Written] | None = None,
    columns: Sequence[str] = tuple(DEFAULT_PARTITION_COLUMNS),
    selects: Callable[[PartitionKey], bool] = lambda key: True,
) -> OutputWriter:
    sink = [] if written is None else written
    return OutputWriter(local_place(root), OUTPUT, MARKET, FileFormat(columns, "zstd", 3), selects, sink.append)


def local(written: Written) -> Path:
    path = written.path.local_path
    assert path is not None
    return path


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_rows_go_to_the_hour_of_their_time(tmp_path: Path) -> None:
    written: list[Written] = []
    out = writer(tmp_path, written)
    out.add(rows([T0, T0 + HOUR - 1, T0 + HOUR]))
    assert len(written) == 1, "a partition is published when the next one begins"
    out.add(rows([T0 + HOUR + 1, T0 + 3 * HOUR]))
    out.finish()
    assert [(w.path.parent.name, w.rows) for w in written] == [("hour=14", 2), ("hour=15", 2), ("hour=17", 1)]
    assert files(tmp_path) == sorted(str(local(w).relative_to(tmp_path)) for w in written)
    assert all(local(w).stat().st_size == w.bytes for w in written)


def test_path_values_stand_in_the_data(tmp_path: Path) -> None:
    for columns in (DEFAULT_PARTITION_COLUMNS, ["exchange", "symbol", "date"], ["date", "exchange", "symbol", "hour"]):
        root = tmp_path / columns[0] / str(len(columns))
        out = writer(root, columns=columns)
        out.add(rows([T0]))
        out.finish()
        (path,) = root.rglob("*.parquet")
        row = pq.ParquetFile(path).read().to_pylist()[0]
        assert {k: str(v) for k, v in parse_partition_path(str(path)).items()} == {k: str(row[k]) for k in columns}
        assert row.get("date", dt.date(2025, 6, 19)) == dt.date(2025, 6, 19)


def test_hours_of_a_coarse_layout_share_a_file(tmp_path: Path) -> None:
    out = writer(tmp_path, columns=["exchange", "symbol", "date"])
    out.add(rows([T0, T0 + HOUR, T0 + 2 * HOUR]))
    out.add(rows([T0 + 24 * HOUR]))
    out.finish()
    assert [pq.ParquetFile(path).metadata.num_rows for path in sorted(tmp_path.rglob("*.parquet"))] == [3, 1]


def test_the_footer_describes_the_file(tmp_path: Path) -> None:
    out = writer(tmp_path)
    out.add(rows([T0]))
    out.finish()
    file = pq.ParquetFile(next(tmp_path.rglob("*.parquet")))
    schema = file.schema_arrow
    assert schema.metadata[b"daedalus.fingerprint"] == b"abc"
    assert b"daedalus.writer_version" in schema.metadata
    assert schema.field("x").metadata == {b"unit": b"bps", b"doc": b"what"}
    assert schema.field("hour").type == pa.int32()
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_row_groups_do_not_depend_on_how_rows_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "ROW_GROUP_ROWS", 10)
    times = [T0 + i for i in range(37)]
    for name, step in (("a", 37), ("b", 1), ("c", 7)):
        out = writer(tmp_path / name)
        for start in range(0, 37, step):
            out.add(rows(times[start : start + step]))
        out.finish()
        file = pq.ParquetFile(next((tmp_path / name).rglob("*.parquet")))
        assert [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)] == [10, 10, 10, 7]
        assert file.read(["at"])["at"].to_pylist() == times


def test_what_is_not_selected_is_dropped(tmp_path: Path) -> None:
    out = writer(tmp_path, selects=lambda key: key.hour == 15)
    out.add(rows([T0, T0 + HOUR, T0 + 2 * HOUR]))
    out.finish()
    assert len(files(tmp_path)) == 1


def test_discarding_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    out = writer(tmp_path)
    out.add(rows([T0]))
    out.finish()
    before = next(tmp_path.rglob("*.parquet")).read_bytes()
    again = writer(tmp_path)
    again.add(rows([T0, T0 + 1]))
    assert len(files(tmp_path)) == 2, "the new file grows beside the old one"
    assert len(list(tmp_path.rglob("*.parquet"))) == 1, "and no glob sees it"
    again.discard()
    assert next(tmp_path.rglob("*.parquet")).read_bytes() == before
    assert len(files(tmp_path)) == 1


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / PartitionKey.of("coinbase", "BTC-USD", T0).path()
    folder.mkdir(parents=True)
    (folder / "rows.parquet.1.tmp").write_bytes(b"half")
    out = writer(tmp_path)
    out.add(rows([T0]))
    out.finish()
    assert [Path(name).name for name in files(tmp_path)] == ["rows.parquet"]


def test_rows_that_go_back_in_time_are_refused(tmp_path: Path) -> None:
    out = writer(tmp_path)
    out.add(rows([T0 + HOUR]))
    with pytest.raises(SchemaError, match="14:00"):
        out.add(rows([T0]))


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    out = writer(tmp_path)
    out.add(rows([T0, T0 + S]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(StorageError, match=r"rows\.parquet: .*File too large"):
            out.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    out.discard()
    assert files(tmp_path) == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "exchange=coinbase").write_text("in the way")
    with pytest.raises(StorageError, match="exchange=coinbase"):
        writer(tmp_path).add(rows([T0]))
