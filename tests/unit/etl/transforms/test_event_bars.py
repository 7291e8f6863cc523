"""Event bars: a naive reference, chunks, and what Lopez de Prado's rule gives on a recorded day."""

import csv
import gzip
import random
import statistics
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daedalus.etl.transforms.bars import BarAggregationTransform, event_bar_output
from daedalus.shared.errors import ConfigError
from tests.unit.etl.transforms.naive_bars import merged, one_bar
from tests.unit.etl.transforms.test_bars import LEDGER, MARKET, S, book_row, book_table, cut, same, trade, trade_table

KINDS = ("tick-3", "volume-4.5", "dollar-900", "tick_imbalance-2", "volume_imbalance-3", "dollar_run-250")
ADAPTIVE = ("tick_imbalance", "volume_imbalance", "dollar_imbalance", "volume_imbalance_literal", "volume_run")


def event_bars(
    book: list[dict[str, Any]],
    trades: list[dict[str, Any]],
    kinds: tuple[str, ...],
    cuts: tuple[list[int], list[int]] = ([], []),
    partial: bool = False,
) -> dict[str, pa.Table]:
    transform = BarAggregationTransform((), event_bars=kinds, partial=partial)
    streams = {"features": cut(book_table(book), cuts[0]), "trades": cut(trade_table(trades), cuts[1])}
    streams["gaps"] = iter([LEDGER.empty_table()])
    found: dict[str, list[pa.RecordBatch]] = {output.name: [] for output in transform.outputs}
    for output, rows in transform.run(MARKET, streams):
        found[output.name].append(rows)
    return {kind: pa.Table.from_batches(found[f"bar={kind}"], schema=event_bar_output(kind).schema) for kind in kinds}


class Rule:
    """When a bar closes, as the catalogue says it."""

    def __init__(self, kind: str) -> None:
        name, _, threshold = kind.partition("-")
        self.unit, _, self.mode = name.partition("_")
        self.fixed = float(threshold) if threshold else None
        self.xs: list[float] = []
        self.open: list[float] = []
        self.closed: list[int] = []
        self.expected = 0.0
        self.threshold = 0.0

    def closes(self, sign: int, price: float, size: float) -> bool:
        amount = {"tick": 1.0, "volume": size, "dollar": price * size}[self.unit]
        self.xs.append(sign * amount)
        self.open.append(sign * amount if self.mode else amount)
        up, down = (sum(abs(x) for x in self.open if (x > 0) is buys and x) for buys in (True, False))
        theta = max(up, down) if self.mode == "run" else abs(sum(self.open))
        if self.fixed is not None:
            done = theta >= self.fixed
        else:
            done = len(self.open) >= 100 if not self.closed else theta >= self.threshold
        if done:
            self.restart()
        return done

    def restart(self) -> None:
        n = len(self.open)
        self.expected = 0.5 * n + 0.5 * self.expected if self.closed else float(n)
        if self.mode != "imbalance_literal":
            self.expected = min(max(self.expected, 25.0), 400.0)
        usual = abs(ewma(self.xs))
        if self.mode == "imbalance":
            size = ewma([abs(x) for x in self.xs])
            usual = min(max(usual, 0.2 * size), 0.5 * size)
        if self.mode == "run":
            sided = [x for x in self.xs if x]
            share = ewma([float(x > 0) for x in sided])
            usual = max(share * ewma([x for x in sided if x > 0]), (1 - share) * ewma([-x for x in sided if x < 0]))
        self.threshold = self.expected * usual
        self.closed.append(n)
        self.open = []


def ewma(values: list[float]) -> float:
    mean = values[0] if values else 0.0
    for value in values[1:]:
        mean += 2 / 1001 * (value - mean)
    return mean


def naive_event_bars(book: list[dict[str, Any]], trades: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    rule, events = Rule(kind), merged(book, trades)
    bars: list[dict[str, Any]] = []
    began, tick, price = None, 0, None
    for at, (_ts, stream, _, event) in enumerate(events):
        if stream == 1:
            continue
        began = at if began is None else began
        if price is not None and event["price"] != price:
            tick = 1 if event["price"] > price else -1
        price = event["price"]
        sign = {"buy": 1, "sell": -1}.get(event["side"], tick)
        if rule.closes(sign, price, event["size"]):
            bars.append(one_bar(events[began][0], events[at][0], events[began : at + 1], events[:began], bars))
            began = None
    return bars


times = st.lists(st.one_of(st.integers(0, 20).map(lambda s: s * S // 2), st.integers(0, 12 * S)), max_size=40)
rows = times.map(lambda ts: [book_row(t, 99.0 + t % 7, mlofi_l0=t % 5 - 2.0) for t in sorted(ts)])
deals = times.flatmap(
    lambda ts: st.tuples(
        *(
            st.builds(trade, st.just(t), st.sampled_from([99.0, 100.0, 101.0]), st.floats(0.5, 3.0), sides)
            for t in sorted(ts)
        )
    ).map(list)
)
sides = st.sampled_from(["buy", "sell", None])
cut_lists = st.lists(st.integers(0, 40), max_size=5)


@settings(max_examples=25, deadline=None)
@given(rows, deals, cut_lists, cut_lists)
def test_event_bars_equal_the_naive_reference_in_any_chunks(
    book: list[dict[str, Any]], trades: list[dict[str, Any]], book_cuts: list[int], trade_cuts: list[int]
) -> None:
    whole, pieces = event_bars(book, trades, KINDS), event_bars(book, trades, KINDS, (book_cuts, trade_cuts))
    for kind in KINDS:
        assert pieces[kind].equals(whole[kind])
        found, wanted = whole[kind].to_pylist(), naive_event_bars(book, trades, kind)
        assert len(found) == len(wanted)
        for mine, reference in zip(found, wanted, strict=True):
            same(mine, reference)


def test_adaptive_thresholds_equal_the_naive_reference() -> None:
    rng = random.Random(5)
    trades = [
        trade(
            k * S, rng.choice([99.0, 100.0, 100.5]), rng.lognormvariate(0, 1), rng.choice(["buy", "buy", "sell", None])
        )
        for k in range(1500)
    ]
    found = event_bars([], trades, ADAPTIVE)
    for kind in ADAPTIVE:
        wanted = [bar["n_trades"] for bar in naive_event_bars([], trades, kind)]
        assert len(wanted) > 3, kind
        assert found[kind]["n_trades"].to_pylist() == wanted, kind


def test_the_trade_that_reaches_the_threshold_belongs_to_the_bar_whole() -> None:
    table = event_bars([], [trade(1, size=2.0), trade(2, size=9.0), trade(3, size=5.0)], ("volume-5",))["volume-5"]
    assert table["volume"].to_pylist() == [11.0, 5.0]
    assert table["bar_start"].to_pylist() == [1, 3]
    assert table["bar_end"].to_pylist() == [2, 3]


def test_the_open_bar_only_on_request() -> None:
    trades = [trade(1), trade(2), trade(3)]
    assert event_bars([], trades, ("tick-2",))["tick-2"].num_rows == 1
    assert event_bars([], trades, ("tick-2",), partial=True)["tick-2"]["is_partial"].to_pylist() == [0, 1]


@pytest.mark.parametrize("name", ["tick", "tick-", "tick-0", "volume-x", "volume-inf", "size-5", "tick_imbalance-0"])
def test_names_are_checked(name: str) -> None:
    with pytest.raises(ConfigError, match="event bar"):
        BarAggregationTransform((), event_bars=(name,))


def test_the_stabilised_rule_gives_the_published_bars_on_a_recorded_day(recordings: Path) -> None:
    with gzip.open(recordings / "trades/gemini__eth-usd__2021-07-01__trade.csv.gz", "rt") as file:
        trades = [
            trade(int(float(row["time_seconds"]) * 1e6) * 1000, float(row["price"]), float(row["size"]), side)
            for row in csv.DictReader(file)
            for side in ("sell" if row["is_buyer_maker"] == "1" else "buy",)
        ]
    found = event_bars([], trades, ("volume_imbalance", "tick_imbalance"))
    counts = found["volume_imbalance"]["n_trades"].to_pylist()
    assert (len(counts), statistics.median(counts), max(counts)) == (1713, 7, 262)
    assert found["tick_imbalance"].num_rows == 2406
