"""The live faces of trades and tickers: the same numbers as batch to the bit, whatever the hand-over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.live import FeatureEngine
from daedalus.etl.features.registry import TABLES, Table
from daedalus.etl.features.stateful import StatefulFeatureProcessor, Value
from daedalus.shared.errors import StateError
from daedalus.shared.events import BookSnapshot, Event, Ticker, Trade
from tests.references.markets import book, book_events, random_deals, random_rows, trade_events, trades
from tests.references.quotes import random_quotes, ticker_events, tickers

CONFIG = FeatureConfig(max_levels=3, horizons=(1, 60), feature_set="core", include=("ticker_quote",))


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One market as events in order of receipt, and what batch makes of it."""

    events: list[Event]
    batch: dict[Table, pa.RecordBatch]


def recorded(seed: int, symbol: str = "BTC-USD") -> Recorded:
    rng = np.random.default_rng(seed)
    rows = [dataclasses.replace(row, reset=False) for row in random_rows(rng, 60)]
    deals, quotes = random_deals(rng, rows, 50), random_quotes(rng, rows, 40)
    deals[7] = dataclasses.replace(deals[7], amount=0.0)
    events: list[Event] = [*trade_events(deals, symbol, "bybit"), *ticker_events(quotes, symbol)]
    events += book_events(rows, symbol, "bybit")
    batch: dict[Table, pa.RecordBatch] = {}
    for table in TABLES:
        features = FeatureSet(CONFIG, table=table)
        given = (book(rows, features.levels), trades(deals), tickers(quotes))
        batch[table] = features.to_arrow(features.apply(features.new_state(), *given)[1])
    return Recorded(sorted(events, key=lambda event: event.collected_at), batch)


def received_together(events: list[Event]) -> list[list[Event]]:
    """Cut events into pieces such that those of one instant stay together."""
    pieces: list[list[Event]] = []
    for event in events:
        if pieces and pieces[-1][-1].collected_at == event.collected_at:
            pieces[-1].append(event)
        else:
            pieces.append([event])
    return pieces


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("count", [1, 9, 1000])
def test_rows_are_those_of_batch(table: Table, count: int) -> None:
    market = recorded(1)
    pieces = received_together(market.events)
    engine = FeatureEngine(CONFIG, table)
    made = [
        rows.features
        for k in range(0, len(pieces), count)
        for rows in engine.update([event for piece in pieces[k : k + count] for event in piece])
    ]
    assert pa.Table.from_batches(made).combine_chunks().equals(pa.Table.from_batches([market.batch[table]]))


def test_markets_do_not_mix() -> None:
    markets = {symbol: recorded(seed, symbol) for seed, symbol in ((2, "A"), (3, "B"))}
    mixed = sorted((e for m in markets.values() for e in m.events), key=lambda event: event.collected_at)
    for table in TABLES:
        for rows in FeatureEngine(CONFIG, table).update(mixed):
            assert rows.features.equals(markets[rows.market.symbol].batch[table])


def test_record_by_record_with_restarts() -> None:
    market = recorded(4)
    processor = StatefulFeatureProcessor(CONFIG)
    got: dict[Table, list[object]] = {table: [] for table in TABLES}
    for k, event in enumerate(market.events):
        row: object
        if isinstance(event, BookSnapshot):
            row = processor.process_orderbook(event)
            got["orderbook"] += [] if row is None else [row]
        elif isinstance(event, Trade):
            got["trades"].append(processor.process_trade(event))
        elif isinstance(event, Ticker):
            got["ticker"].append(processor.process_ticker(event))
        if k % 10 == 0:
            data = processor.get_state()
            processor = StatefulFeatureProcessor(CONFIG)
            processor.set_state(data)
    assert {table: len(rows) for table, rows in got.items()} == {t: b.num_rows for t, b in market.batch.items()}
    for table, rows in got.items():
        alone = in_order_of_receipt(market, table)
        assert rows == alone


def in_order_of_receipt(market: Recorded, table: Table) -> list[dict[str, Value]]:
    """Return what an engine says that gets one event at a time."""
    engine = FeatureEngine(CONFIG, table)
    made = [rows.features for event in market.events for rows in engine.update([event])]
    rows: list[dict[str, Value]] = pa.Table.from_batches(made).to_pylist()
    return rows


def test_many_events_between_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from daedalus.etl.features import stateful

    market = recorded(5)
    asked = [event for event in market.events if isinstance(event, Ticker)][-1]
    answers = []
    for most in (1024, 3):
        monkeypatch.setattr(stateful, "_WAITING_MAX", most)
        processor = StatefulFeatureProcessor(CONFIG)
        for event in market.events[: market.events.index(asked)]:
            if isinstance(event, Trade):
                processor.process_trade(event)
            elif isinstance(event, BookSnapshot):
                processor.process_orderbook(event)
        answers.append(processor.process_ticker(asked))
    assert answers[0] == answers[1]


def test_a_cut_state_is_refused() -> None:
    processor = StatefulFeatureProcessor(CONFIG)
    data = processor.get_state()
    for cut in (data[:10], data[:-1], data + b"x"):
        with pytest.raises(StateError, match="only the beginning"):
            processor.set_state(cut)
    with pytest.raises(StateError, match="damaged"):
        processor.set_state(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_trade_says_nothing_but_its_time_when_it_is_none() -> None:
    trade = Trade(collected_at=5, exchange="x", symbol="y", price=1.0, amount=None)
    row = StatefulFeatureProcessor(CONFIG).process_trade(trade)
    assert {name for name, value in row.items() if value is not None} == {"ts", "is_late"}
