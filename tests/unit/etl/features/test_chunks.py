"""From bronze tables to arrays: times, sequence numbers, cleaning (B1-B3), sides, and resets from the gap ledger."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from daedalus.etl.features.base import NULL_INT
from daedalus.etl.features.chunks import book_chunk, gap_moments, gap_resets, trade_chunk
from daedalus.shared.errors import SchemaError
from tests.references.markets import Deal, Levels, Row, book, book_table, random_rows, trade_table
from tests.references.static_features import clean

NAN = math.nan


def one(bids: Levels, asks: Levels, cap: int = 4) -> tuple[list[float], list[float], list[float], list[float]]:
    chunk = book([Row(1.0, bids, asks)], cap)
    return tuple(side[0].tolist() for side in (chunk.bid_price, chunk.bid_size, chunk.ask_price, chunk.ask_size))  # type: ignore[return-value]


def equal(left: list[float], right: list[float]) -> bool:
    return np.array_equal(np.array(left), np.array(right), equal_nan=True)


def test_levels_are_padded_with_nan_and_zero() -> None:
    bid, bid_size, ask, ask_size = one([(99.0, 1.0), (98.0, 2.0)], [])
    assert equal(bid, [99.0, 98.0, NAN, NAN])
    assert bid_size == [1.0, 2.0, 0.0, 0.0]
    assert equal(ask, [NAN] * 4)
    assert ask_size == [0.0] * 4


def test_invalid_levels_are_dropped() -> None:
    rubbish = [(NAN, 1.0), (math.inf, 1.0), (-9_999_999_999.0, 0.0), (0.0, 1.0), (-1.0, 1.0), (98.0, NAN)]
    rubbish += [(97.0, 0.0), (96.0, -1.0), (95.0, math.inf)]
    bid, bid_size, _, _ = one([*rubbish, (99.0, 1.0)], [])
    assert equal(bid, [99.0, NAN, NAN, NAN])
    assert bid_size[0] == 1.0


def test_levels_are_sorted_and_equal_prices_merged() -> None:
    bid, bid_size, ask, ask_size = one(
        [(98.0, 1.0), (99.0, 2.0), (98.0, 4.0)], [(103.0, 1.0), (101.0, 2.0), (101.0, 0.5)]
    )
    assert equal(bid, [99.0, 98.0, NAN, NAN])
    assert bid_size == [2.0, 5.0, 0.0, 0.0]
    assert equal(ask, [101.0, 103.0, NAN, NAN])
    assert ask_size == [2.5, 1.0, 0.0, 0.0]


def test_the_best_levels_are_kept_wherever_they_stand() -> None:
    bids = [(float(p), float(p)) for p in (1, 2, 3, 4, 5, 6, 7)]
    assert one(bids, [])[0] == [7.0, 6.0, 5.0, 4.0]
    assert one(bids[::-1], [])[0] == [7.0, 6.0, 5.0, 4.0]
    assert one([*bids, (4.0, 10.0), (3.0, 1.0)], [])[1] == [7.0, 6.0, 5.0, 14.0]


def test_random_books_are_cleaned_as_the_reference_does() -> None:
    rows = random_rows(np.random.default_rng(3), 300)
    chunk = book(rows, 3)
    for i, row in enumerate(rows):
        for levels, is_bid, price, size in (
            (row.bids, True, chunk.bid_price[i], chunk.bid_size[i]),
            (row.asks, False, chunk.ask_price[i], chunk.ask_size[i]),
        ):
            want = clean(levels, is_bid, 3)
            count = len(want)
            assert price[:count].tolist() == [p for p, _ in want]
            assert np.allclose(size[:count], [q for _, q in want], rtol=1e-15)
            assert np.isnan(price[count:]).all()
            assert (size[count:] == 0.0).all()


def test_event_time_else_receive_time() -> None:
    table = book_table([Row(1.0, [], [], delay=0.5), Row(2.0, [], [], delay=0.5)])
    times = pa.array([None, table["timestamp"][1].value], pa.timestamp("us", "UTC"))
    chunk = book_chunk(table.set_column(table.schema.get_field_index("timestamp"), "timestamp", times), 2)
    assert chunk.ts[0] == chunk.collected_at[0]
    assert chunk.ts[1] == chunk.collected_at[1] - 500_000_000


def test_missing_sequence_numbers_are_null() -> None:
    chunk = book([Row(1.0, [], [], seq=7), Row(2.0, [], [])])
    assert chunk.seq.tolist() == [7, NULL_INT]
    without = book_table([Row(1.0, [], [])]).drop_columns(["nonce"])
    assert book_chunk(without, 2).seq.tolist() == [NULL_INT]


def test_slices_chunked_tables_and_large_lists_are_read_alike() -> None:
    table = book_table(random_rows(np.random.default_rng(1), 40))
    want = book_chunk(table, 5)
    whole = pa.concat_tables([table.slice(0, 13), table.slice(13)])
    large = pl.from_arrow(table).to_arrow()
    batch = table.combine_chunks().to_batches()[0]
    for other in (whole, large, batch):
        got = book_chunk(other, 5)
        assert all(getattr(got, name).tobytes() == getattr(want, name).tobytes() for name in got.__dataclass_fields__)
    part = book_chunk(table.slice(7, 9), 5)
    assert part.bid_price.tobytes() == want.bid_price[7:16].tobytes()


def test_null_lists_and_null_levels_are_nothing() -> None:
    kind = pa.list_(pa.struct([("price", pa.float64()), ("size", pa.float64())]))
    bids = pa.array([None, [None, {"price": 9.0, "size": 1.0}, {"price": None, "size": 1.0}]], kind)
    table = pa.table({"collected_at": [1, 2], "bids": bids, "asks": bids})
    assert equal(book_chunk(table, 1).bid_price[:, 0].tolist(), [NAN, 9.0])


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"collected_at": [1], "asks": [[]]}), "no column 'bids'"),
        (pa.table({"collected_at": [1], "bids": [1.0], "asks": [1.0]}), "must be list<struct<price"),
        (pa.table({"bids": [[]], "asks": [[]]}), "needs a time"),
        (pa.table({"timestamp": [1], "bids": [[]], "asks": [[]]}), "must be a timestamp"),
        (pa.table({"timestamp": pa.array([None], pa.timestamp("us")), "bids": [[]], "asks": [[]]}), "has neither"),
        (pa.table({"collected_at": ["soon"], "bids": [[]], "asks": [[]]}), "whole numbers"),
    ],
)
def test_other_tables_are_refused(table: pa.Table, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        book_chunk(table, 2)


def test_resets_must_match_the_rows() -> None:
    with pytest.raises(SchemaError, match="2 entries for 1 rows"):
        book_chunk(book_table([Row(1.0, [], [])]), 2, np.zeros(2, np.bool_))


def test_trades() -> None:
    chunk = trade_chunk(trade_table([Deal(1.0, 2.0, 1, 100.0), Deal(2.0, 3.0, -1, 101.0), Deal(3.0, 4.0, 0, 102.0)]))
    assert chunk.side.tolist() == [1, -1, 0]
    assert chunk.amount.tolist() == [2.0, 3.0, 4.0]
    assert chunk.price.tolist() == [100.0, 101.0, 102.0]
    assert np.diff(chunk.ts).tolist() == [1_000_000_000] * 2


def test_trades_of_other_types() -> None:
    at = [dt.datetime(2025, 6, 19, tzinfo=dt.UTC)] * 2
    frame = pl.DataFrame({"timestamp": at, "side": ["sell", None], "price": [1, 2], "amount": [1.0, None]})
    frame = frame.with_columns(pl.col("side").cast(pl.Categorical))
    chunk = trade_chunk(frame.to_arrow())
    assert chunk.side.tolist() == [-1, 0]
    assert equal(chunk.amount.tolist(), [1.0, NAN])
    unknown = trade_chunk(frame.with_columns(pl.lit(None).alias("side")).to_arrow())
    assert unknown.side.tolist() == [0, 0]


def test_gap_resets_mark_the_first_rows_from_each_moment_on() -> None:
    received = np.array([10, 20, 30, 40, 50])
    moments = gap_moments(np.array([40, 20, 60]), np.array([20, 20, 50]), np.array([40, NULL_INT, 60]))
    assert moments.tolist() == [40, 21, 60]
    assert gap_resets(received, moments).tolist() == [False, False, True, True, False]
    assert gap_resets(received[3:], moments, 30).tolist() == [True, False]
    assert not gap_resets(received[:0], moments).any()


def test_gap_resets_do_not_depend_on_chunks() -> None:
    rng = np.random.default_rng(2)
    received = np.cumsum(rng.integers(0, 3, 200))
    moments = rng.integers(-5, 250, 20)
    whole = gap_resets(received, moments)
    for cut in range(1, 200, 7):
        rest = gap_resets(received[cut:], moments, int(received[cut - 1]))
        assert np.array_equal(np.concatenate([gap_resets(received[:cut], moments), rest]), whole)
