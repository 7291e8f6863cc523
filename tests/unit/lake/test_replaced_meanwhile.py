"""Files that are replaced or merged while a lake is read: nobody sees an error, or rows of both."""

import contextlib
import ctypes
import dataclasses
import os
import secrets
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.lake import lake as lakes
from daedalus.lake import query
from daedalus.lake.lake import open_lake
from daedalus.lake.scanning import lazy_frame
from daedalus.lake.tables import Table
from daedalus.shared.errors import StorageError
from daedalus.shared.filters import FilterSpec
from daedalus.storage.base import Place
from daedalus.storage.clouds import S3Storage
from daedalus.storage.local import local_place
from daedalus.storage.partitions import REPLACES, Partition, find_partitions, replaces
from daedalus.storage.segments import ReadStats, footers, read_chunks
from daedalus.testing.s3_server import S3Server
from tests.unit.etl.core.bronze import T0, S
from tests.unit.lake.test_lake import write_made

SILVER = "processed/coinbase/orderbook/silver"
SCHEMA = pa.schema([("collected_at", pa.int64()), ("mid", pa.int64())])
#: Events of one kind that follow one another are told as one: reading stands between two openings.
_IN_OPEN, _IN_ACCESS = 0x20, 0x01


@pytest.fixture
def base(tmp_path: Path) -> Path:
    clock = [T0 + n * 600 * S for n in range(18)]
    write_made(tmp_path, "orderbook/silver", "collected_at", {"ts": clock, "collected_at": clock, "mid": clock})
    return tmp_path


def files(base: Path) -> list[Path]:
    return sorted((base / SILVER).rglob("*.parquet"))


def replace(file: Path, rows: int) -> None:
    """Put a file of other rows in the place of one."""
    temp = file.with_suffix(".tmp")
    pl.concat([pl.read_parquet(file)] * rows).write_parquet(temp)
    temp.replace(file)


@contextlib.contextmanager
def opened(folders: set[Path]) -> Iterator[Counter[str]]:
    """Count how often each file in some folders is opened in a block; filled at its end."""
    system = ctypes.CDLL(None, use_errno=True)
    fd, found, names = system.inotify_init1(os.O_NONBLOCK), Counter[str](), dict[int, str]()
    try:
        for folder in folders:
            names[system.inotify_add_watch(fd, os.fsencode(folder), _IN_OPEN | _IN_ACCESS)] = folder.name
        yield found
        with contextlib.suppress(BlockingIOError):
            while told := os.read(fd, 1 << 16):
                while told:
                    watch, mask, _, length = struct.unpack_from("iIII", told)
                    if length and mask & _IN_OPEN:  # without a name it is the folder itself
                        found[f"{names[watch]}/{told[16 : 16 + length].rstrip(bytes(1)).decode()}"] += 1
                    told = told[16 + length :]
    finally:
        os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="counts by inotify")
def test_rows_come_from_one_opening_of_each_file(base: Path) -> None:
    rows = open_lake(base).scan("orderbook_features", start=T0).filter(pl.col("mid") > 0)
    with opened({file.parent for file in files(base)}) as counts:
        assert rows.collect().height == 18
    assert counts == {f"hour={hour}/features.parquet": 1 for hour in (14, 15, 16)}


def test_a_file_that_is_replaced_after_it_was_asked_for_is_the_new_one(base: Path) -> None:
    rows = open_lake(base).scan("orderbook_features")
    replace(files(base)[0], 5)
    replace(files(base)[1], 3)
    assert rows.collect().height == 5 * 6 + 3 * 6 + 6


def test_sql_asks_again_when_a_file_was_replaced_under_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = query._run, list[int]()

    def replaced_under(tables: Mapping[str, Table], listed: query._Listing, statement: str) -> pa.RecordBatchReader:
        reader = real(tables, listed, statement)
        tries.append(1)
        if len(tries) > 2:
            return reader
        reader.close()
        replace(files(base)[-1], 1 + len(tries))
        raise StorageError("don't know what type")

    monkeypatch.setattr(query, "_run", replaced_under)
    assert open_lake(base).sql("select count(*) n from orderbook_features")["n"].item() == 12 + 2 * 3 * 6
    assert len(tries) == 3


def test_sql_asks_again_when_an_object_was_put_anew_since_the_listing(
    base: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Storage(**s3_server.options(secrets.token_hex(6)))  # type: ignore[arg-type]
    for file in files(base):
        store.put_file(file.relative_to(base).as_posix(), file)
    real, tries = query._listed, list[int]()

    def smaller_before(tables: Mapping[str, Table], statement: str) -> query._Listing:
        tries.append(1)
        listed = real(tables, statement)
        if len(tries) > 1:
            return listed
        return {
            name: [
                (source, dataclasses.replace(part, sizes=tuple(size - 9 for size in part.sizes))) for source, part in of
            ]
            for name, of in listed.items()
        }

    monkeypatch.setattr(query, "_listed", smaller_before)
    assert open_lake(store).sql("select count(*) n from orderbook_features")["n"].item() == 18
    assert len(tries) == 2
    tries.clear()
    with pytest.raises(StorageError, match="ask again"):
        open_lake(store).sql_batches("from orderbook_features")


def test_sql_over_a_file_that_is_damaged_for_good_is_an_error_at_once(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, tries = files(base)[-1], list[int]()
    damaged.write_bytes(b"PAR1" + bytes(500) + b"PAR1")
    listed = query._listed
    monkeypatch.setattr(query, "_listed", lambda *args: tries.append(1) or listed(*args))
    with pytest.raises(StorageError):
        open_lake(base).sql("select sum(mid) from orderbook_features")
    assert len(tries) == 2


def test_files_that_are_merged_between_listing_and_looking_are_listed_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = files(base)[0]
    first.rename(first.with_name("features-1-2.parquet"))

    def merged_before(segments: list[Place], channel: str | None) -> pl.LazyFrame:
        appended = first.with_name("features-1-2.parquet")
        if appended.exists():
            appended.rename(first)
        return lazy_frame(segments, channel)

    monkeypatch.setattr(lakes, "lazy_frame", merged_before)
    assert open_lake(base).scan("orderbook_features").collect().height == 18


def test_files_that_are_merged_before_they_are_exported_are_listed_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = files(base)[0]
    appended = first.rename(first.with_name("features-1-2.parquet"))

    def merged_after(segments: list[Place], channel: str | None) -> pl.LazyFrame:
        rows = lazy_frame(segments, channel)
        if appended.exists():
            appended.rename(first)
        return rows

    monkeypatch.setattr(lakes, "lazy_frame", merged_after)
    open_lake(base).export("csv", base / "rows.csv", table="orderbook_features")
    assert pl.read_csv(base / "rows.csv").height == 18


def test_footers_of_files_that_were_merged_are_those_of_the_merged_one(base: Path) -> None:
    first = files(base)[0]
    first.rename(first.with_name("features-1-2.parquet"))
    partition = partitions(base)[0]
    assert partition.names == ("features-1-2.parquet",)
    first.with_name("features-1-2.parquet").rename(first)
    assert [footer.num_rows for footer in footers(partition)] == [6]


def partitions(base: Path) -> list[Partition]:
    return find_partitions(local_place(base / SILVER), FilterSpec())


def test_rows_of_a_file_that_took_the_place_of_others_since_the_listing_come_once(base: Path) -> None:
    """Where folders cannot be exchanged, and in stores, the old files are there for a moment after the new one."""
    first = files(base)[0]
    first.rename(first.with_name("features-1-2.parquet"))
    write(first, [T0 + 5 * S])
    partition = partitions(base)[0]
    assert len(partition.names) == 2
    write(first, [T0 + 7 * S, T0 + 8 * S], {REPLACES: replaces(["features-1-2.parquet"])})
    tables = read_chunks([partition.segments()], SCHEMA, ReadStats())
    assert [at for table in tables for at in table["mid"].to_pylist()] == [T0 + 7 * S, T0 + 8 * S]


def write(file: Path, clock: list[int], footer: dict[str, str] | None = None) -> None:
    with pq.ParquetWriter(file, SCHEMA) as writer:
        writer.write_table(pa.table([clock, clock], schema=SCHEMA))
        writer.add_key_value_metadata(footer or {})
