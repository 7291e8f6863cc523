"""Time bars: cases worked by hand, a naive reference, and independence of chunks."""

import math
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus.etl.transforms.bar_folds import fold_time_bars
from daedalus.etl.transforms.bar_layout import bar_columns
from daedalus.etl.transforms.bar_merging import merge_bars
from daedalus.etl.transforms.bar_trades import _deals
from daedalus.etl.transforms.bars import BarAggregationTransform, bar_output
from daedalus.etl.transforms.base import Market
from daedalus.shared.errors import ConfigError
from tests.unit.etl.transforms.naive_bars import naive_bars

S = 10**9
BOOK, TRADES, LEDGER = (spec.schema for spec in BarAggregationTransform((1,)).inputs)
FLOATS = [name for name in BOOK.names if name not in ("collected_at", "ts")]
MARKET = Market("x", "BTC-USD")


def book_row(ts: int, mid: float | None = 100.0, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(FLOATS, 0.0), "ts": ts, "mid": mid, "spread_bps": 1.0, **values}


def trade(ts: int, price: float = 100.0, size: float = 1.0, side: str | None = "buy") -> dict[str, Any]:
    return {"ts": ts, "price": price, "size": size, "side": side}


def book_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**row, "collected_at": row["ts"]} for row in rows], schema=BOOK)


def trade_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Times in whole microseconds go into `timestamp`, others into `collected_at` alone (T1)."""
    return pa.Table.from_pylist(
        [
            {
                "collected_at": row["ts"] + (0 if row["ts"] % 1000 else 7),
                "timestamp": None if row["ts"] % 1000 else row["ts"] // 1000,
                "side": row["side"],
                "price": row["price"],
                "amount": row["size"],
            }
            for row in rows
        ],
        schema=TRADES,
    )


def cut(table: pa.Table, cuts: list[int]) -> Iterator[pa.Table]:
    """Yield the table in pieces; empty ones and all."""
    bounds = [0, *sorted(min(at, table.num_rows) for at in cuts), table.num_rows]
    for start, end in pairwise(bounds):
        yield table.slice(start, end - start)


def bars(
    book: list[dict[str, Any]],
    trades: list[dict[str, Any]],
    durations: tuple[int, ...] = (1,),
    cuts: tuple[list[int], list[int]] = ([], []),
    partial: bool = False,
    gaps: list[dict[str, Any]] | None = None,
) -> dict[int, pa.Table]:
    transform = BarAggregationTransform(durations, partial=partial)
    streams = {"features": cut(book_table(book), cuts[0]), "trades": cut(trade_table(trades), cuts[1])}
    streams["gaps"] = iter([pa.Table.from_pylist(gaps or [], schema=LEDGER)])
    found: dict[str, list[pa.RecordBatch]] = {output.name: [] for output in transform.outputs}
    for output, rows in transform.run(MARKET, streams):
        found[output.name].append(rows)
    return {d: pa.Table.from_batches(found[f"duration={d}"], schema=bar_output(d).schema) for d in durations}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if value is None or isinstance(value, str) or found[name] is None:
            assert found[name] == value, name
        else:  # not `pytest.approx`, which is slow, for there are thousands of bars
            assert math.isclose(found[name], value, rel_tol=1e-9, abs_tol=1e-12), (name, found[name], value)


def test_a_bar_is_closed_on_the_left_and_open_on_the_right() -> None:
    table = bars([], [trade(0, 10.0), trade(S - 1, 11.0), trade(S, 12.0), trade(2 * S, 13.0)])[1]
    assert table["bar_start"].to_pylist() == [0, S]
    assert table["bar_end"].to_pylist() == [S, 2 * S]
    assert table["close"].to_pylist() == [11.0, 12.0]


def test_trade_columns_by_hand() -> None:
    trades = [trade(1, 10.0, 2.0), trade(2, 12.0, 1.0, "sell"), trade(3, 9.0, 1.0, None), trade(4, 11.0, 4.0), trade(S)]
    wanted = {
        "open": 10.0,
        "high": 12.0,
        "low": 9.0,
        "close": 11.0,
        "volume": 8.0,
        "notional": 85.0,
        "buy_volume": 6.0,
        "sell_volume": 2.0,  # the one without a side is below the one before it
        "n_trades": 4,
        "n_buys": 2,
        "n_sells": 2,
        "vwap": 85.0 / 8.0,
        "tfi": 4.0,
        "tfi_ratio": 0.5,
        "ret": None,
        "is_empty": 0,
        "is_partial": 0,
        "mid_close": None,
        "n_updates": 0,
        "spread_mean_bps": None,
        "ofi_sum": 0.0,
        "rv": 0.0,
    }
    same(bars([], trades)[1].to_pylist()[0], wanted)


def test_book_columns_by_hand() -> None:
    book = [
        book_row(1, 100.0, spread_bps=2.0, imbalance_l0=0.5, mlofi_l0=None, log_return=None),
        book_row(2, 102.0, spread_bps=4.0, imbalance_l0=None, mlofi_l0=3.0, log_return=0.02),
        book_row(3, None, spread_bps=None, imbalance_l0=1.0, mlofi_l0=-1.0, log_return=None),
        book_row(4, 101.0, spread_bps=-1.0, imbalance_l0=None, mlofi_l0=0.5, log_return=None),
        book_row(S, 103.0),
    ]
    wanted = {
        "mid_open": 100.0,
        "mid_high": 102.0,
        "mid_low": 100.0,
        "mid_close": 101.0,
        "n_updates": 4,
        "spread_mean_bps": 5.0 / 3.0,
        "spread_min_bps": -1.0,
        "spread_max_bps": 4.0,
        "imbalance_mean": 0.75,
        "imbalance_last": 1.0,
        "ofi_sum": 2.5,
        "rv": 0.0004,
        "open": None,
        "vwap": None,
        "tfi_ratio": None,
    }
    same(bars(book, [])[1].to_pylist()[0], wanted)


def test_empty_bars_carry_the_close_and_the_living_mid() -> None:
    book, trades = [book_row(S // 2, 100.0), book_row(3 * S, 104.0), book_row(4 * S)], [trade(S // 2, 99.0)]
    table = bars(book, trades)[1]
    assert table["is_empty"].to_pylist() == [0, 1, 1, 0]
    assert table["close"].to_pylist() == [99.0] * 4
    assert table["ret"].to_pylist() == [None, 0.0, 0.0, 0.0]
    assert table["mid_open"].to_pylist() == [100.0] * 4
    assert table["mid_close"].to_pylist() == [100.0, 100.0, 100.0, 104.0]
    assert table["mid_ret"].to_pylist()[-1] == math.log(1.04)


def test_a_row_without_a_mid_ends_the_one_before() -> None:
    table = bars([book_row(0, 100.0), book_row(S // 2, None), book_row(3 * S // 2, 104.0), book_row(4 * S)], [])[1]
    assert table["mid_open"].to_pylist()[:3] == [100.0, 104.0, 104.0]


def test_a_mid_lives_for_exactly_the_staleness() -> None:
    table = bars([book_row(0, 100.0), book_row(400 * S, 101.0)], [])[1].to_pylist()
    assert table[300]["mid_open"] == 100.0
    assert table[301]["mid_open"] is None
    assert table[301]["mid_close"] is None
    assert table[301]["mid_ret"] is None


def test_late_rows_go_to_the_bar_of_the_newest_time_seen() -> None:
    table = bars([], [trade(S + 1, 10.0), trade(1, 20.0), trade(2 * S, 30.0)])[1]
    assert table["bar_start"].to_pylist() == [S]
    assert table["close"].to_pylist() == [20.0]


def test_invalid_trades_are_no_events() -> None:
    bad = [trade(5 * S, 0.0), trade(5 * S, 1.0, math.nan), trade(5 * S, math.inf), trade(5 * S, 1.0, -1.0)]
    assert bars([], [trade(0), *bad, trade(S)])[1].num_rows == 1


def test_the_partial_bar_only_on_request() -> None:
    book, trades = [book_row(0)], [trade(S + 5)]
    assert bars(book, trades)[1]["is_partial"].to_pylist() == [0]
    table = bars(book, trades, partial=True)[1]
    assert table["is_partial"].to_pylist() == [0, 1]
    assert table["bar_end"].to_pylist() == [S, 2 * S]
    assert bars([], [], partial=True)[1].num_rows == 0


def test_more_empty_bars_than_the_buffer_holds() -> None:
    table = bars([], [trade(0), trade(20_000 * S)])[1]
    assert table.num_rows == 20_000
    assert sum(table["is_empty"].to_pylist()) == 19_999


DAY = 86_400


@pytest.mark.parametrize("duration", [60, 3600])
def test_a_silence_longer_than_a_day_is_not_filled(duration: int) -> None:
    def found(seconds: int) -> list[dict[str, Any]]:
        book, trades = [book_row(0), book_row(seconds * S, 101.0)], [trade(0, 10.0), trade(seconds * S, 11.0)]
        return bars(book, trades, (duration,), partial=True)[duration].to_pylist()

    filled, cut = found(DAY + duration), found(DAY + duration + 1)
    assert len(filled) == (DAY + duration) // duration + 1
    assert [bar["bar_start"] // S for bar in cut] == [0, DAY + duration]
    assert cut == [filled[0], filled[-1]]


def test_where_nulls_stand_is_nothing_to_compile_for() -> None:
    bars([book_row(0), book_row(2 * S)], [trade(1)])
    compiled = len(fold_time_bars.signatures), len(_deals.signatures)
    for name in ("mid", "vpin", "mlofi_l0"):
        bars([book_row(0, **{name: None}), book_row(2 * S)], [trade(1)])
    assert (len(fold_time_bars.signatures), len(_deals.signatures)) == compiled


def test_every_column_is_declared_with_a_meaning() -> None:
    schema = bar_output(60).schema
    assert all(schema.field(column.name).metadata[b"doc"] for column in bar_columns(10))
    assert schema.field("spread_mean_bps").metadata[b"unit"] == b"bps"


@pytest.mark.parametrize("durations", [(), (0,), (86_401,), (5, 5)])
def test_durations_are_checked(durations: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="duration"):
        BarAggregationTransform(durations)


# Times cluster at bar edges and tie; half of them fall between microseconds.
times = st.lists(
    st.one_of(
        st.integers(0, 30).map(lambda s: s * S // 2),
        st.integers(0, 12 * S),
        st.integers(305 * S, 320 * S),
    ),
    max_size=40,
)
optional = st.one_of(st.none(), st.floats(-50.0, 50.0))
SMALL = st.one_of(st.none(), st.floats(-0.01, 0.01))
values = {name: optional for name in FLOATS if name not in ("mid", "log_return", "depth_bid_n5", "depth_ask_n5")}
values |= {"depth_bid_n5": st.floats(0.0, 9.0), "depth_ask_n5": st.floats(0.0, 9.0), "log_return": SMALL}
book_rows = times.flatmap(
    lambda ts: st.tuples(
        *(
            st.builds(
                book_row,
                st.just(t),
                st.one_of(st.none(), st.floats(90.0, 110.0)),
                **values,
            )
            for t in sorted(ts)
        )
    ).map(list)
)
trade_rows = times.flatmap(
    lambda ts: st.tuples(
        *(
            st.builds(
                trade, st.just(t), st.floats(90.0, 110.0), st.floats(0.01, 10.0), st.sampled_from(["buy", "sell", None])
            )
            for t in ts
        )
    ).map(list)
)
cut_lists = st.lists(st.integers(0, 40), max_size=6)


@settings(max_examples=40, deadline=None)
@given(book_rows, trade_rows, cut_lists, cut_lists, st.booleans())
def test_bars_equal_the_naive_reference_in_any_chunks(
    book: list[dict[str, Any]],
    trades: list[dict[str, Any]],
    book_cuts: list[int],
    trade_cuts: list[int],
    partial: bool,
) -> None:
    durations = (1, 5, 60, 900)
    whole = bars(book, trades, durations, partial=partial)
    pieces = bars(book, trades, durations, (book_cuts, trade_cuts), partial)
    for duration in durations:
        assert pieces[duration].equals(whole[duration])
        found, wanted = whole[duration].to_pylist(), naive_bars(book, trades, duration, partial=partial)
        assert len(found) == len(wanted)
        for mine, reference in zip(found, wanted, strict=True):
            same(mine, reference)


def test_bars_in_which_something_may_be_missing_are_flagged() -> None:
    gap = {"collected_at": 3 * S, "channel": "trades", "started_at": S + S // 2, "ended_at": 3 * S}
    table = bars([book_row(0), book_row(5 * S)], [], gaps=[gap])[1]
    assert table["has_gap"].to_pylist() == [0, 1, 1, 1, 0]


MERGED = (1, 5, 60)
SIDES = ["buy", "sell", None]


@pytest.mark.parametrize("seed", range(4))
def test_merged_bars_equal_those_made_from_the_events(seed: int) -> None:
    rng = random.Random(seed)
    at = sorted(rng.randrange(70 * S) for _ in range(300))
    book = [book_row(0)] + [
        book_row(t, rng.choice([None, 99.0, 100.0, 102.0]), **{name: rng.uniform(-1.0, 1.0) for name in FLOATS[1:]})
        for t in at
        if not 20 * S < t < 40 * S
    ]
    trades = [trade(t, rng.uniform(90, 110), rng.uniform(0.1, 3.0), rng.choice(SIDES)) for t in at[::7]]
    direct = bars([*book, book_row(300 * S)], trades, MERGED)
    for duration in MERGED[1:]:
        merged = merge_bars(pl.DataFrame(direct[1]), duration)
        assert merged.height == 300 // duration
        for mine, reference in zip(merged.to_dicts(), direct[duration].to_pylist(), strict=True):
            same(mine, {name: reference[name] for name in merged.columns})
