"""Tickers for tests: written by hand or random, and as bronze, chunks and events. Derivatives are in Bybit's words."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from daedalus.etl.features.tickers import TickerChunk, ticker_chunk
from daedalus.shared.events import Ticker
from daedalus.shared.schemas import arrow_schema
from tests.references.markets import START_NS, Row

SECOND = 1_000_000_000
_SENT = {
    "mark": "markPrice",
    "index": "indexPrice",
    "open_interest": "openInterest",
    "funding_rate": "fundingRate",
    "funding_hours": "fundingIntervalHour",
}
_COLUMNS = ("bid", "ask", "last", "high", "low", "base_volume", "quote_volume")


@dataclass(frozen=True)
class Quote:
    """One ticker; `at` is seconds after the start of the day, `next_at` of the next funding likewise."""

    at: float
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    high: float | None = None
    low: float | None = None
    base_volume: float | None = None
    quote_volume: float | None = None
    mark: float | None = None
    index: float | None = None
    open_interest: float | None = None
    funding_rate: float | None = None
    funding_hours: float | None = None
    next_at: int | None = None
    delay: float = 0.0

    @property
    def ts(self) -> int:
        return START_NS + round(self.at * 1e6) * 1000

    @property
    def collected_at(self) -> int:
        return self.ts + round(self.delay * 1e6) * 1000

    @property
    def next_ts(self) -> int | None:
        return None if self.next_at is None else START_NS + self.next_at * SECOND


def info(quote: Quote) -> str | None:
    """Return the venue's own fields; numbers as text, as it sends them."""
    sent: dict[str, str] = {name: repr(v) for own, name in _SENT.items() if (v := getattr(quote, own)) is not None}
    if quote.next_ts is not None:
        sent["nextFundingTime"] = str(quote.next_ts // 1_000_000)
    return json.dumps(sent) if sent else None


def ticker_table(quotes: list[Quote]) -> pa.Table:
    """Return tickers as bronze `ticker`."""
    schema = arrow_schema("ticker")
    columns: dict[str, list[object]] = {name: [getattr(q, name) for q in quotes] for name in _COLUMNS}
    columns |= {
        "collected_at": [q.collected_at for q in quotes],
        "capture_ts": [q.collected_at // 1000 for q in quotes],
        "exchange": ["bybit"] * len(quotes),
        "symbol": ["BTC-USD"] * len(quotes),
        "timestamp": [q.ts // 1000 for q in quotes],
        "info_json": [info(q) for q in quotes],
    }
    none = [None] * len(quotes)
    return pa.table([pa.array(columns.get(field.name, none), field.type) for field in schema], schema=schema)


def tickers(quotes: list[Quote]) -> TickerChunk:
    return ticker_chunk(ticker_table(quotes))


def ticker_events(quotes: list[Quote], symbol: str = "BTC-USD") -> list[Ticker]:
    return [
        Ticker(
            collected_at=q.collected_at,
            exchange="bybit",
            symbol=symbol,
            timestamp=q.ts // 1000,
            info_json=info(q),
            **{name: getattr(q, name) for name in _COLUMNS},
        )
        for q in quotes
    ]


def random_quotes(rng: np.random.Generator, rows: Iterable[Row], count: int) -> list[Quote]:
    """Return tickers over the time of the rows: ties, late ones, missing values; in order of arrival."""
    spots = rng.choice([row.at for row in rows], count) + rng.choice([0.0, 0.0, 0.05, 1.0, 250.0], count)

    def some(value: float) -> float | None:
        return None if rng.random() < 0.15 else value

    made = []
    for at in np.sort(np.maximum(spots, 0.0)):
        last = float(1000.0 + rng.normal())
        made.append(
            Quote(
                max(0.0, float(at) - float(rng.choice([0.0, 0.0, 0.0, 0.5]))),
                some(last - 0.5),
                some(last + 0.5),
                some(last),
                some(float(rng.choice([1000.0, 1010.0]))),
                some(float(rng.choice([1000.0, 990.0]))),
                some(5e3),
                some(float(rng.choice([0.0, 5e6, 6e6]))),
                some(last + float(rng.normal())),
                some(float(rng.choice([0.0, 1000.0, 1001.5], p=[0.05, 0.9, 0.05]))),
                some(float(rng.integers(0, 4)) * 100.0),
                some(float(rng.choice([1e-4, 1e-4, -2e-5, 3e-4]))),
                some(8.0),
                int(at) // 600 * 600 + 600 if rng.random() < 0.8 else None,
                float(rng.choice([0.0, 0.02, 0.4])),
            )
        )
    return sorted(made, key=lambda quote: quote.collected_at)
