"""Real markets as events: the recordings, run through the order book and into the records that collectors make.

What a recording does not hold is made in a way that costs as much as the real thing: where it has no receive clock, the
exchange's time and a latency of some 30 ms to the nanosecond; where it has no trade ids, ids that count up.
"""

import csv
import gzip
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from daedalus.recordings.base import Book, Changes
from daedalus.recordings.coinbase_exchange import read_coinbase_exchange
from daedalus.recordings.cryptofeed import read_frames
from daedalus.shared.book import OrderBook
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.events import BookDelta, BookSnapshot, Event, Frame, Ticker, Trade, pack_changes

DEPTH = 20
ROOT = Path(__file__).parent.parent
#: Coinbase tells of the trades of 250 ms at once.
TRADES_WINDOW_US = 250_000
_SIDES = {"buy": "bid", "sell": "ask"}
_OPPOSITE = {"buy": "sell", "sell": "buy"}


def folder() -> Path | None:
    """Return where the recordings are, None if they are not there."""
    path = Path(os.environ.get("DAEDALUS_TEST_DATA", ROOT.parent / "shared" / "data"))
    return path if (path / "README.md").exists() else None


def capture_messages(data: Path) -> Iterator[tuple[int, dict]]:
    """Receive clock and message of the ten Coinbase markets captured for 30 s."""
    for received_ns, text in read_frames(data / "cryptofeed_ws" / "COINBASE.ws.28.0"):
        yield received_ns, json.loads(text)


def capture_books(data: Path, depth: int = DEPTH) -> Iterator[Event]:
    """A snapshot of the top levels after each l2update. The feed numbers nothing: no nonce."""
    books: dict[str, OrderBook] = {}
    for received_ns, message in capture_messages(data):
        if message["type"] == "snapshot":
            book = books[message["product_id"]] = OrderBook()
            book.replace(_levels(message["bids"]), _levels(message["asks"]))
        elif message["type"] == "l2update":
            book = books[message["product_id"]]
            for side, price, size in message["changes"]:
                book.set(_SIDES[side], float(price), float(size))
            yield _snapshot(book, depth, received_ns, message["product_id"], parse_rfc3339_us(message["time"]))


def capture_l2(data: Path) -> Iterator[Event]:
    """Every change of the same markets, snapshots included."""
    for received_ns, message in capture_messages(data):
        if message["type"] not in ("snapshot", "l2update"):
            continue
        is_snapshot = message["type"] == "snapshot"
        if is_snapshot:
            changes = [(None, side, *level) for side in ("bid", "ask") for level in _levels(message[f"{side}s"])]
        else:
            time = parse_rfc3339_us(message["time"])
            changes = [(time, _SIDES[side], float(price), float(size)) for side, price, size in message["changes"]]
        yield BookDelta(
            collected_at=received_ns,
            exchange="coinbase",
            symbol=message["product_id"],
            is_snapshot=is_snapshot,
            changes=pack_changes(changes),
        )


def capture_trades(data: Path) -> Iterator[Event]:
    """The executions in the same capture."""
    for received_ns, message in capture_messages(data):
        if message["type"] == "match":
            time, side = parse_rfc3339_us(message["time"]), _OPPOSITE[message["side"]]
            values = float(message["price"]), float(message["size"])
            yield _trade(received_ns, message["product_id"], str(message["trade_id"]), time, side, *values)


def capture_tickers(data: Path) -> Iterator[Event]:
    """The tickers in the same capture; what no column carries goes into `info_json`."""
    columns = {
        "price": "last", "open_24h": "open", "high_24h": "high", "low_24h": "low", "volume_24h": "base_volume",
        "best_bid": "bid", "best_ask": "ask",
    }  # fmt: skip
    for received_ns, message in capture_messages(data):
        if message["type"] == "ticker":
            rest = {k: v for k, v in message.items() if k not in (*columns, "type", "product_id", "time")}
            yield Ticker(
                collected_at=received_ns,
                exchange="coinbase",
                symbol=message["product_id"],
                timestamp=parse_rfc3339_us(message["time"]),
                info_json=_json(rest),
                **{column: float(message[name]) for name, column in columns.items() if name in message},
            )


def capture_frames(data: Path) -> Iterator[Event]:
    """The same capture, verbatim."""
    for received_ns, text in read_frames(data / "cryptofeed_ws" / "COINBASE.ws.28.0"):
        yield Frame(
            collected_at=received_ns, exchange="coinbase", symbol="ALL", connection_id="1", direction="in", frame=text
        )


def session_books(data: Path, depth: int = DEPTH) -> Iterator[Event]:
    """BTC-USD of 2018: ten minutes of one liquid market, a snapshot after each update."""
    book, rng, clock = OrderBook(), random.Random(3), 0
    path = next((data / "coinbase_exchange_l2_20180417").glob("*.csv.gz"))
    for message in read_coinbase_exchange(path):
        if isinstance(message, Book):
            book.replace(_levels(message.bids), _levels(message.asks))
        elif isinstance(message, Changes) and message.time_us is not None:
            for side, price, size in message.changes:
                book.set(side, float(price), float(size))
            clock = _after(clock, message.time_us, rng)
            yield _snapshot(book, depth, clock, "BTC-USD", message.time_us)


def hour_of_trades(data: Path) -> Iterator[Event]:
    """BTC-USD of Coinbase for an hour, received in windows of 250 ms as its feed sends them."""
    rng, number, clock, window = random.Random(1), 1_069_726_291, 0, 0
    with (data / "trades" / "coinbase_btc-usd_20230905_16h_trades.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            time = parse_rfc3339_us(row["timestamp"]) or 0
            if time // TRADES_WINDOW_US != window:
                window = time // TRADES_WINDOW_US
                clock = _after(clock, (window + 1) * TRADES_WINDOW_US, rng)
            number += 1
            values = float(row["price"]), float(row["amount"])
            yield _trade(clock, row["symbol"], str(number), time, row["side"], *values)


def day_of_trades(data: Path) -> Iterator[Event]:
    """ETH-USD of Gemini for a day, each trade received by itself; its ids count all events of the exchange."""
    rng, number, clock = random.Random(2), 25_218_746_123, 0
    with gzip.open(data / "trades" / "gemini__eth-usd__2021-07-01__trade.csv.gz", "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            time = round(float(row["time_seconds"]) * 1000) * 1000
            clock = _after(clock, time, rng)
            number += 1 + int(rng.expovariate(1 / 300))
            side = "sell" if row["is_buyer_maker"] == "1" else "buy"
            values = float(row["price"]), float(row["size"])
            yield _trade(clock, "ETH-USD", str(number), time, side, *values, exchange="gemini")


def binance_messages(data: Path, market: str, stream: str) -> Iterator[tuple[int, dict]]:
    """Receive clock and content of one stream of a Binance recording (`spot`, `usdm`, `cm`)."""
    for path in sorted((data / "binance_raw").glob(f"{market}_*.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                received, _, text = line.partition(" ")
                message = json.loads(text)
                if f"@{stream}" in message.get("stream", ""):
                    yield int(received), message["data"]


def binance_trades(data: Path, market: str = "spot") -> Iterator[Event]:
    """Trades of BTC with their own ids and receive clocks."""
    for received_ns, m in binance_messages(data, market, "trade"):
        side, values = "sell" if m["m"] else "buy", (float(m["p"]), float(m["q"]))
        yield _trade(received_ns, m["s"], str(m["t"]), m["T"] * 1000, side, *values, exchange=f"binance-{market}")


def binance_tickers(data: Path, market: str = "spot") -> Iterator[Event]:
    """Best quotes of BTC at every change, with the exchange's number of the update in `info_json`."""
    for received_ns, m in binance_messages(data, market, "bookTicker"):
        yield Ticker(
            collected_at=received_ns,
            exchange=f"binance-{market}",
            symbol=m["s"],
            timestamp=m["T"] * 1000 if "T" in m else None,
            bid=float(m["b"]),
            ask=float(m["a"]),
            bid_volume=float(m["B"]),
            ask_volume=float(m["A"]),
            info_json=_json({"u": m["u"]}),
        )


def binance_books(data: Path, market: str = "usdm", depth: int = DEPTH) -> Iterator[Event]:
    """Snapshots of a market in which much moves, after each diff once its start is known."""
    book, started = OrderBook(), False
    for path in sorted((data / "binance_raw").glob(f"{market}_*.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                received, _, text = line.partition(" ")
                message = json.loads(text)
                if "lastUpdateId" in message:
                    book.replace(_levels(message["bids"]), _levels(message["asks"]))
                    started = True
                elif started and "@depth" in message["stream"]:
                    diff = message["data"]
                    for side, name in (("bid", "b"), ("ask", "a")):
                        for price, size in diff[name]:
                            book.set(side, float(price), float(size))
                    event = _snapshot(book, depth, int(received), diff["s"], diff["E"] * 1000, diff["u"])
                    yield event


def _levels(rows: Iterable) -> list[tuple[float, float]]:
    return [(float(price), float(size)) for price, size in rows]


def _snapshot(
    book: OrderBook, depth: int, clock: int, symbol: str, time: int | None, nonce: int | None = None
) -> BookSnapshot:
    bids, asks = book.top(depth)
    exchange = "coinbase" if nonce is None else "binance"
    return BookSnapshot(
        collected_at=clock, exchange=exchange, symbol=symbol, timestamp=time, nonce=nonce, bids=bids, asks=asks
    )


def _trade(clock, symbol, number, time, side, price, amount, exchange="coinbase") -> Trade:
    """As Coinbase's collector makes it: the raw side, the maker's, stays in `info_json`."""
    return Trade(
        collected_at=clock,
        exchange=exchange,
        symbol=symbol,
        trade_id=number,
        timestamp=time,
        side=side,
        price=price,
        amount=amount,
        info_json=_json({"side": _OPPOSITE[side].upper()}),
    )


def _after(clock: int, time_us: int, rng: random.Random) -> int:
    """A receive clock: some 30 ms after the event, and some us after the frame before."""
    return max(clock + rng.randrange(2_000, 60_000), time_us * 1000 + int(rng.lognormvariate(17.2, 0.3)))


def _json(value: dict) -> str:
    return json.dumps(value, separators=(",", ":"))


#: All of it, by the name that the benchmark prints.
SETS: dict[str, Callable[[Path], Iterator[Event]]] = {
    "books, ten Coinbase markets, 30 s (2021)": capture_books,
    "books, Coinbase BTC-USD, 10 min (2018)": session_books,
    "books, Binance COIN-M BTC (2024)": lambda data: binance_books(data, "cm"),
    "books, Binance USD-M BTC (2024)": lambda data: binance_books(data, "usdm"),
    "books, Binance spot BTC, each 100 ms (2024)": lambda data: binance_books(data, "spot"),
    "l2, ten Coinbase markets, 30 s": capture_l2,
    "trades, Coinbase BTC-USD, 1 h (2023)": hour_of_trades,
    "trades, Gemini ETH-USD, 24 h (2021)": day_of_trades,
    "trades, Binance spot BTC (2024)": binance_trades,
    "trades, Binance USD-M BTC (2024)": lambda data: binance_trades(data, "usdm"),
    "trades, eight Coinbase markets, 30 s": capture_trades,
    "ticker, Binance spot BTC (2024)": binance_tickers,
    "ticker, Binance USD-M BTC (2024)": lambda data: binance_tickers(data, "usdm"),
    "ticker, ten Coinbase markets, 30 s": capture_tickers,
    "frames, ten Coinbase markets, 30 s": capture_frames,
}
