"""Small markets for tests: rows written by hand, random ones with every oddity, and their bronze tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from daedalus.etl.features.chunks import BookChunk, TradeChunk, book_chunk, trade_chunk
from daedalus.shared.events import BookSnapshot, Side, Trade, pack_levels
from daedalus.shared.schemas import arrow_schema

START_NS = 1_750_291_200_000_000_000  # 2025-06-19 00:00 UTC
SECOND_NS = 1_000_000_000
Levels = list[tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """One bronze book row; `at` is seconds after the start of the day."""

    at: float
    bids: Levels
    asks: Levels
    seq: int | None = None
    reset: bool = False
    delay: float = 0.0

    @property
    def ts(self) -> int:
        return START_NS + round(self.at * 1e6) * 1000

    @property
    def collected_at(self) -> int:
        return self.ts + round(self.delay * 1e6) * 1000


@dataclass(frozen=True)
class Deal:
    """One bronze trade; side +1, -1 or 0."""

    at: float
    amount: float
    side: int = 1
    price: float = 100.0
    delay: float = 0.0

    @property
    def ts(self) -> int:
        return START_NS + round(self.at * 1e6) * 1000

    @property
    def collected_at(self) -> int:
        return self.ts + round(self.delay * 1e6) * 1000


def touch(at: float, bid: float, ask: float, bid_size: float = 1.0, ask_size: float = 1.0) -> Row:
    """Return a row of one level a side."""
    return Row(at, [(bid, bid_size)], [(ask, ask_size)])


def book_table(rows: list[Row]) -> pa.Table:
    """Return rows as bronze `orderbook`."""
    schema = arrow_schema("orderbook")
    columns = {
        "collected_at": [row.collected_at for row in rows],
        "capture_ts": [row.collected_at // 1000 for row in rows],
        "exchange": ["sandbox"] * len(rows),
        "symbol": ["BTC-USD"] * len(rows),
        "timestamp": [row.ts // 1000 for row in rows],
        "nonce": [row.seq for row in rows],
        "bids": [[{"price": p, "size": q} for p, q in row.bids] for row in rows],
        "asks": [[{"price": p, "size": q} for p, q in row.asks] for row in rows],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def trade_table(deals: list[Deal]) -> pa.Table:
    """Return deals as bronze `trades`."""
    schema = arrow_schema("trades")
    count = len(deals)
    columns = {
        "collected_at": [deal.collected_at for deal in deals],
        "capture_ts": [deal.collected_at // 1000 for deal in deals],
        "exchange": ["sandbox"] * count,
        "symbol": ["BTC-USD"] * count,
        "trade_id": [str(j) for j in range(count)],
        "timestamp": [deal.ts // 1000 for deal in deals],
        "side": [{1: "buy", -1: "sell", 0: None}[deal.side] for deal in deals],
        "price": [deal.price for deal in deals],
        "amount": [deal.amount for deal in deals],
        "cost": [None] * count,
        "info_json": [None] * count,
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def book(rows: list[Row], max_levels: int = 20) -> BookChunk:
    return book_chunk(book_table(rows), max_levels, np.array([row.reset for row in rows], np.bool_))


def trades(deals: list[Deal]) -> TradeChunk:
    return trade_chunk(trade_table(deals))


def trade_events(deals: list[Deal], symbol: str = "BTC-USD", exchange: str = "sandbox") -> list[Trade]:
    """Return deals as the recorder has them."""
    sides: dict[int, Side | None] = {1: "buy", -1: "sell", 0: None}
    return [
        Trade(
            collected_at=deal.collected_at,
            exchange=exchange,
            symbol=symbol,
            timestamp=deal.ts // 1000,
            side=sides[deal.side],
            price=deal.price,
            amount=deal.amount,
        )
        for deal in deals
    ]


def book_events(rows: list[Row], symbol: str = "BTC-USD", exchange: str = "sandbox") -> list[BookSnapshot]:
    """Return rows as the recorder has them."""
    return [
        BookSnapshot(
            collected_at=row.collected_at,
            exchange=exchange,
            symbol=symbol,
            timestamp=row.ts // 1000,
            nonce=row.seq,
            bids=pack_levels(row.bids),
            asks=pack_levels(row.asks),
        )
        for row in rows
    ]


STEPS = (0.0, 0.0, 0.000001, 0.1, 0.1, 0.35, 1.0, 1.0, 4.9, -0.05, 60.0, 299.999999, 300.0, 300.000001, 1000.0)
WEIGHTS = (8, 8, 4, 20, 20, 10, 10, 10, 3, 4, 1, 0.3, 0.4, 0.3, 0.3)


def random_rows(rng: np.random.Generator, count: int, levels: int = 6) -> list[Row]:
    """Return rows with ties, late rows, gaps, flagged resets, empty sides, crossed and unclean books, repeats."""
    rows: list[Row] = []
    at, centre, seq = 0.0, 1000.0, 0
    steps = rng.choice(STEPS, count, p=np.array(WEIGHTS) / sum(WEIGHTS))
    for step in steps:
        at = max(0.0, at + float(step))
        centre += float(rng.integers(-2, 3))
        seq += int(rng.choice([0, 1, 1, 1, 2]))
        number = None if rng.random() < 0.2 else seq
        sides = [_random_side(rng, centre, levels, sign) for sign in (-1, 1)]
        reset = bool(rng.random() < 0.02)
        rows.append(Row(at, sides[0], sides[1], number, reset, float(rng.choice([0.0, 0.02, 0.2]))))
    return received_in_order(rows)


def _random_side(rng: np.random.Generator, centre: float, levels: int, sign: int) -> Levels:
    """Return levels around the centre in steps of 0.5; about one book in ten overlaps the other side."""
    kind = rng.random()
    if kind < 0.06:
        return []
    count = int(rng.integers(1, levels + 1))
    first = -2 if rng.random() < 0.1 else 1
    ticks = first + np.cumsum(rng.integers(0 if kind < 0.15 else 1, 6, count)) - 1
    prices = (centre + sign * 0.5 * ticks).tolist()
    sizes = rng.choice([0.25, 0.1, 1.0, 1.3, 2.0, 7.7, 1e-6, 1e6], count).tolist()
    side = list(zip(prices, sizes, strict=True))
    if kind > 0.9:
        rng.shuffle(side)
        side = [(float(p), float(q)) for p, q in side]
        side.insert(0, (float("nan"), 1.0))
        side.append((prices[0], 0.0))
    return side


def received_in_order(rows: list[Row]) -> list[Row]:
    """Return the rows with delays raised so that receive times never step back."""
    out: list[Row] = []
    newest = 0
    for row in rows:
        newest = max(newest, row.collected_at)
        out.append(Row(row.at, row.bids, row.asks, row.seq, row.reset, (newest - row.ts) / 1e9))
    return out


def random_deals(rng: np.random.Generator, rows: list[Row], count: int) -> list[Deal]:
    """Return trades over the time of the rows, with ties, bursts and late arrivals, in order of arrival."""
    spots = rng.choice([row.at for row in rows], count) + rng.choice([0.0, 0.0, 0.05, 0.7, 3.0], count)
    deals = [
        Deal(
            float(at),
            float(rng.choice([0.1, 0.3, 1.0, 2.5, 40.0])),
            int(rng.choice([-1, 0, 1, 1])),
            float(1000.0 + rng.normal()),
            float(rng.choice([0.0, 0.03, 0.5])),
        )
        for at in np.maximum(spots, 0.0)
    ]
    return sorted(deals, key=lambda deal: deal.collected_at)
