"""Reading: several segments become one ordered stream, and bad files are named."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus.shared.errors import CorruptError, NotFoundError, SchemaError
from daedalus.storage import reader, segments
from daedalus.storage.base import Place
from daedalus.storage.clouds import MemoryStorage
from daedalus.storage.local import local_place
from daedalus.storage.segments import ReadStats, read_chunks

SCHEMA = pa.schema([("collected_at", pa.int64()), ("mark", pa.string())])


def write(path: Path, clock: list[int], row_group: int = 3, statistics: bool = True) -> Path:
    marks = [f"{path.stem}{i}" for i in range(len(clock))]
    table = pa.table(
        {"collected_at": clock, "mark": marks, "other": clock}, schema=SCHEMA.append(pa.field("other", "int64"))
    )
    pq.write_table(table, path, row_group_size=row_group, write_statistics=statistics, write_page_checksum=True)
    return path


def chunks(partitions: list[list[Path]], schema: pa.Schema, stats: ReadStats) -> Iterator[pa.Table]:
    return read_chunks([[local_place(path) for path in paths] for paths in partitions], schema, stats)


def read(partitions: list[list[Path]], stats: ReadStats | None = None) -> list[dict[str, object]]:
    return [row for table in chunks(partitions, SCHEMA, stats or ReadStats()) for row in table.to_pylist()]


clocks = st.lists(st.lists(st.integers(0, 30), max_size=25).map(sorted), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(clocks, st.integers(1, 6), st.booleans())
def test_segments_merge_like_one_stable_sort(
    tmp_path_factory: pytest.TempPathFactory, segments: list[list[int]], row_group: int, statistics: bool
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    paths = [
        write(folder / f"{name}.parquet", c, row_group, statistics) for name, c in zip("abcd", segments, strict=False)
    ]
    rows = [(c, f"{path.stem}{i}") for path, clock in zip(paths, segments, strict=True) for i, c in enumerate(clock)]
    wanted = sorted(rows, key=lambda row: row[0])
    assert [(row["collected_at"], row["mark"]) for row in read([paths])] == wanted


def test_a_segment_that_is_not_sorted_is_sorted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [5, 1, 9, 2, 8, 3, 7])
    assert [row["collected_at"] for row in read([[path]])] == [1, 2, 3, 5, 7, 8, 9]


def test_segments_that_do_not_overlap_come_row_group_by_row_group(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.parquet", [1, 2, 3, 4]), write(tmp_path / "b.parquet", [4, 5])]
    got = list(chunks([paths], SCHEMA, ReadStats()))
    assert [table.num_rows for table in got] == [3, 1, 2]


def test_chunks_are_bounded_and_partitions_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "CHUNK_ROWS", 4)
    first, second = write(tmp_path / "a.parquet", list(range(10)), 10), write(tmp_path / "b.parquet", [0, 1])
    sizes = [table.num_rows for table in chunks([[first], [], [second]], SCHEMA, ReadStats())]
    assert sizes == [4, 4, 2, 2]


def test_files_are_opened_once_and_only_when_their_turn_comes(tmp_path: Path) -> None:
    stats = ReadStats()
    partitions = [[write(tmp_path / f"{i}.parquet", [i])] for i in range(3)]
    stream = chunks(partitions, SCHEMA, stats)
    next(stream)
    assert (stats.files_opened, stats.rows) == (1, 1)
    list(stream)
    assert (stats.files_opened, stats.rows) == (3, 3)


def test_an_empty_segment_is_passed_over(tmp_path: Path) -> None:
    assert read([[write(tmp_path / "a.parquet", []), write(tmp_path / "b.parquet", [1])]])[0]["mark"] == "b0"


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 this is not a segment PAR1")
    with pytest.raises(CorruptError, match=r"a\.parquet"):
        read([[path]])


def test_a_flipped_bit_in_a_page_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", list(range(1000)), 1000)
    data = bytearray(path.read_bytes())
    found = 0
    for at in range(40, 1200, 100):
        damaged = bytes(itertools.chain(data[:at], [data[at] ^ 4], data[at + 1 :]))
        path.write_bytes(damaged)
        try:
            read([[path]])
        except CorruptError as error:
            assert "a.parquet" in str(error)
            found += 1
    assert found >= 10


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [1])
    with pytest.raises(SchemaError, match=r"a\.parquet has no column price; its columns are collected_at, mark"):
        list(chunks([[path]], SCHEMA.append(pa.field("price", pa.float64())), ReadStats()))


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [1])
    with pytest.raises(SchemaError, match=r"a\.parquet: a column is not of its declared type"):
        list(chunks([[path]], pa.schema([("collected_at", pa.int64()), ("mark", pa.float64())]), ReadStats()))


@pytest.mark.parametrize("whole_bytes", [1 << 20, 100])
def test_objects_are_read_like_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_bytes: int) -> None:
    monkeypatch.setattr(reader, "WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr(reader, "PIECE_BYTES", 64)
    paths = [write(tmp_path / "a.parquet", list(range(500))), write(tmp_path / "b.parquet", list(range(300)))]
    store = MemoryStorage()
    for path in paths:
        store.put_file(f"raw/{path.name}", path)
    places = [Place(store) / "raw" / path.name for path in paths]
    got = [row for table in read_chunks([places], SCHEMA, ReadStats()) for row in table.to_pylist()]
    assert got == read([paths])


def test_a_damaged_object_is_named(tmp_path: Path) -> None:
    store = MemoryStorage()
    store.put("raw/a.parquet", b"PAR1 this is not a segment PAR1")
    with pytest.raises(CorruptError, match=r"memory:/raw/a\.parquet"):
        list(read_chunks([[Place(store, "raw/a.parquet")]], SCHEMA, ReadStats()))


def test_objects_of_the_next_partition_are_fetched_meanwhile(tmp_path: Path) -> None:
    store = MemoryStorage()
    for n in range(4):
        store.put_file(f"raw/{n}.parquet", write(tmp_path / f"{n}.parquet", [n]))
    taken: list[int] = []

    def partitions() -> Iterator[list[Place]]:
        for n in range(4):
            taken.append(n)
            yield [Place(store, f"raw/{n}.parquet")]

    stream = read_chunks(partitions(), SCHEMA, ReadStats())
    assert next(stream)["collected_at"].to_pylist() == [0]
    assert taken == [0, 1]
    assert [table["collected_at"].to_pylist() for table in stream] == [[1], [2], [3]]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch") and not wait_for(thread)]


def wait_for(thread: threading.Thread) -> bool:
    thread.join(timeout=10)
    return not thread.is_alive()


def test_a_missing_object_fails_at_its_turn() -> None:
    store = MemoryStorage()
    with pytest.raises(NotFoundError, match=r"raw/none\.parquet"):
        list(read_chunks([[Place(store, "raw/none.parquet")]], SCHEMA, ReadStats()))
