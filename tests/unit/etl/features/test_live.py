"""The live face: the same numbers as batch, whatever the hand-over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.live import FeatureEngine, Market
from daedalus.etl.features.stateful import StatefulFeatureProcessor
from daedalus.shared.events import ALL, BookSnapshot, Event, Gap, Trade
from tests.references.markets import Deal, Row, book, book_events, random_deals, random_rows, trade_events, trades

CONFIG = FeatureConfig(max_levels=3, horizons=(1, 60), vpin_bucket_volume=2.0, vpin_window_buckets=3)
MARKET = Market("sandbox", "BTC-USD")


def market(seed: int) -> tuple[list[Row], list[Deal]]:
    rng = np.random.default_rng(seed)
    rows = [dataclasses.replace(row, reset=False) for row in random_rows(rng, 60)]
    return rows, random_deals(rng, rows, 40)


def events(rows: list[Row], deals: list[Deal], symbol: str = "BTC-USD") -> list[Event]:
    """Return rows and deals in order of receipt, deals first."""
    made: list[Event] = [*trade_events(deals, symbol), *book_events(rows, symbol)]
    return sorted(made, key=lambda event: event.collected_at)


def batch(rows: list[Row], deals: list[Deal]) -> pa.RecordBatch:
    features = FeatureSet(CONFIG)
    return features.to_arrow(features.apply(features.new_state(), book(rows, 3), trades(deals))[1])


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_rows_are_those_of_batch(size: int) -> None:
    rows, deals = market(1)
    stream = events(rows, deals)
    engine = FeatureEngine(CONFIG)
    parts = [made.features for k in range(0, len(stream), size) for made in engine.update(stream[k : k + size])]
    assert pa.Table.from_batches(parts).combine_chunks().equals(pa.Table.from_batches([batch(rows, deals)]))


def test_markets_do_not_mix() -> None:
    (a, a_deals), (b, b_deals) = market(1), market(2)
    mixed = sorted([*events(a, a_deals, "A"), *events(b, b_deals, "B")], key=lambda event: event.collected_at)
    got = {made.market.symbol: made.features for made in FeatureEngine(CONFIG).update(mixed)}
    assert got["A"].equals(batch(a, a_deals))
    assert got["B"].equals(batch(b, b_deals))


@pytest.mark.parametrize("symbol", ["BTC-USD", ALL])
def test_a_gap_makes_the_next_row_a_first_one(symbol: str) -> None:
    stream = events([Row(float(k), [(99.0, 1.0)], [(101.0, 1.0)]) for k in range(3)], [])
    gap = Gap(
        collected_at=0, exchange="sandbox", symbol=symbol, channel=ALL, started_at=0, ended_at=0, reason="disconnect"
    )
    rows = FeatureEngine(CONFIG).update([*stream[:2], gap, stream[2]])[0].features
    assert rows.column("is_reset").to_pylist() == [1, 0, 1]


def test_record_by_record_with_a_restart() -> None:
    rows, deals = market(3)
    processor = StatefulFeatureProcessor(CONFIG)
    assert processor.max_state_staleness_seconds == 300.0
    got = []
    for k, event in enumerate(events(rows, deals)):
        if isinstance(event, BookSnapshot):
            row = processor.process_orderbook(event)
            got += [] if row is None else [row]
        elif isinstance(event, Trade):
            processor.process_trade(event)
        if k % 10 == 0:
            data = processor.get_state()
            processor = StatefulFeatureProcessor(CONFIG)
            processor.set_state(data)
    assert got == batch(rows, deals).to_pylist()
