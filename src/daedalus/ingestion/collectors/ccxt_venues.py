"""The table of venues: what can be verified of each, and how CCXT is used there. A venue that is not in it is `OTHER`.

`docs/INTEGRITY.md` is made from this table (`integrity_page`); a test compares them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from daedalus.ingestion.collectors.ccxt_events import Fields
from daedalus.ingestion.collectors.ccxt_resubscribe import (
    Message,
    Resubscribe,
    binance_again,
    bybit_again,
    coinbase_again,
    kraken_again,
    okx_again,
)
from daedalus.ingestion.collectors.ccxt_sequence import (
    BinanceCheck,
    BybitCheck,
    Check,
    CoinbaseCheck,
    KrakenCheck,
    OkxCheck,
)

#: How long a channel of a live connection may say nothing, seconds, where nothing better is known. Books of most
#: markets change every second; trades and tickers come with matches, which may be rare.
STALL_TIMEOUTS = MappingProxyType({"orderbook": 60.0, "trades": 300.0, "ticker": 300.0})
NO_FIELDS = Fields()


@dataclass(frozen=True)
class Integrity:
    """What a venue lets one verify, in words for the docs."""

    book: str
    trades: str
    missed: str
    resync: str


@dataclass(frozen=True)
class Venue:
    """How CCXT is used with one exchange.

    Attributes
    ----------
    integrity
        For the docs.
    check
        Reads the numbering of one connection; None where there is none, or none that CCXT does not read itself.
    trade_ids_consecutive
        Whether a market's trade ids grow by one, so that a jump tells how many trades are missing.
    past_trades
        What the frames of past trades carry, which an exchange sends first; None if it marks none.
    checksums
        Whether CCXT's "checksum" errors are about checksums; elsewhere it calls a gap in the sequence so.
    depths
        The depths that a book can be subscribed to; empty if CCXT's default is deep enough.
    batch
        Symbols of one subscription message.
    plain_deltas
        Whether a book's changes are [price, size, ...] texts, which can be applied at once.
    bulk_ticker_differs
        Whether the bulk ticker is another, slower feed than that of one symbol.
    quotes_spoil_books
        Whether CCXT keeps the best quotes of a market in the place of its book.
    hello
        Messages to send when a connection is up.
    resync
        How a book with a hole is made whole. "rest": fetch its snapshot again, deltas go on; "send": unsubscribe and
        subscribe with `resubscribe`'s messages; "watch": CCXT's own unwatch and watch.
    resubscribe
        Messages that unsubscribe and subscribe what a call watches of some markets; None leaves that to CCXT. It is
        given the depth of books and the topics that CCXT subscribed to.
    stall_timeouts
        How long a channel of a live connection may say nothing before it is looked into, seconds.
    """

    integrity: Integrity
    check: Callable[[], Check] | None = None
    trade_ids_consecutive: bool = False
    past_trades: re.Pattern[str] | None = None
    checksums: bool = False
    depths: tuple[int, ...] = ()
    batch: int = 20
    plain_deltas: bool = False
    bulk_ticker_differs: bool = False
    quotes_spoil_books: bool = False
    fields: Fields = NO_FIELDS
    hello: tuple[Message, ...] = ()
    resync: Literal["rest", "send", "watch"] = "watch"
    resubscribe: Resubscribe | None = None
    stall_timeouts: Mapping[str, float] = field(default_factory=lambda: STALL_TIMEOUTS)

    def depth(self, wanted: int) -> int | None:
        """Return the depth to subscribe to for `wanted` levels: the least that holds them, or the deepest there is."""
        return next((depth for depth in self.depths if depth >= wanted), self.depths[-1] if self.depths else None)


_names = frozenset
_SNAPSHOT = re.compile(r'"type"\s*:\s*"snapshot"')
_COINBASE = Venue(
    Integrity(
        "`sequence_num`, over all messages of the connection",
        "the same, and consecutive trade ids",
        "yes",
        "level2 is subscribed again; all markets of the connection are concerned",
    ),
    check=CoinbaseCheck,
    trade_ids_consecutive=True,
    past_trades=_SNAPSHOT,
    bulk_ticker_differs=True,
    fields=Fields(
        trade=_names(("product_id", "trade_id", "price", "size", "time")),
        ticker=_names(
            (
                "type",
                "product_id",
                "price",
                "best_bid",
                "best_ask",
                "best_bid_quantity",
                "best_ask_quantity",
                "high_24_h",
                "low_24_h",
                "volume_24_h",
                "price_percent_chg_24_h",
            )
        ),
        side_is_makers=True,
    ),
    # Without these a quiet connection is closed after 60 to 90 s; they are numbered too, so a hole shows soon.
    hello=({"type": "subscribe", "channel": "heartbeats"},),
    resync="send",
    resubscribe=coinbase_again,
)
_BINANCE = Venue(
    Integrity(
        "update ids: `U` follows the last `u` (spot), `pu` equals it (futures)",
        "consecutive trade ids",
        "yes, but for futures' books",
        "the snapshot is fetched by REST again, deltas are kept meanwhile; the others go on",
    ),
    check=BinanceCheck,
    trade_ids_consecutive=True,
    batch=50,
    plain_deltas=True,
    fields=Fields(
        trade=_names(("e", "s", "t", "p", "q", "T", "m", "M")),
        ticker=_names(("e", "s", "c", "b", "B", "a", "A", "o", "h", "l", "p", "P", "w", "C")),
    ),
    resync="rest",
    resubscribe=binance_again,
)
_OKX = Venue(
    Integrity(
        "`prevSeqId` names the last `seqId`",
        "nothing (ids grow, not by one)",
        "no: ids jump",
        "the book's channel is subscribed again; the others go on",
    ),
    check=OkxCheck,
    plain_deltas=True,
    fields=Fields(
        trade=_names(("instId", "tradeId", "px", "sz", "side", "ts")),
        ticker=_names(
            ("instId", "last", "askPx", "askSz", "bidPx", "bidSz", "open24h", "high24h", "low24h", "ts", "asks", "bids")
        ),
    ),
    resync="send",
    resubscribe=okx_again,
    # After a minute without a change the exchange says so.
    stall_timeouts=MappingProxyType({**STALL_TIMEOUTS, "orderbook": 90.0}),
)
_KRAKEN = Venue(
    Integrity(
        "CRC32 of the ten best levels a side, with every message (CCXT's own check is switched off)",
        "consecutive trade ids",
        "trades yes, book no",
        "the book is subscribed again; the others go on",
    ),
    check=KrakenCheck,
    trade_ids_consecutive=True,
    past_trades=_SNAPSHOT,
    checksums=True,
    depths=(10, 25, 100, 500, 1000),
    fields=Fields(
        trade=_names(("symbol", "side", "price", "qty", "trade_id", "timestamp")),
        ticker=_names(
            (
                "symbol",
                "bid",
                "bid_qty",
                "ask",
                "ask_qty",
                "last",
                "volume",
                "vwap",
                "low",
                "high",
                "change",
                "change_pct",
            )
        ),
        computed=_names(("quote_volume",)),
    ),
    resync="send",
    resubscribe=kraken_again,
)
_BYBIT = Venue(
    Integrity(
        "`u` of a topic grows by one (CCXT does not look)",
        "nothing (ids are random)",
        "yes, of books",
        "the book's topic is subscribed again; the others go on",
    ),
    check=BybitCheck,
    depths=(50, 200, 1000),
    batch=10,
    plain_deltas=True,
    quotes_spoil_books=True,
    fields=Fields(trade=_names(("T", "s", "S", "v", "p", "i"))),
    resync="send",
    resubscribe=bybit_again,
)
_BITSTAMP = Venue(
    Integrity(
        "nothing: updates carry times, no numbers",
        "nothing (ids grow, not by one)",
        "no",
        "CCXT's unwatch and watch",
    ),
    fields=Fields(trade=_names(("id", "microtimestamp", "amount", "price", "type"))),
)
OTHER = Venue(
    Integrity(
        "what CCXT tells: its errors about sequence and checksum",
        "nothing but re-sent ids",
        "no",
        "CCXT's unwatch and watch, or a new subscription",
    ),
)

VENUES: Mapping[str, Venue] = MappingProxyType(
    {
        "coinbase": _COINBASE,
        "binance": _BINANCE,
        "binanceus": _BINANCE,
        "binanceusdm": _BINANCE,
        "binancecoinm": _BINANCE,
        "okx": _OKX,
        "okxus": _OKX,
        "myokx": _OKX,
        "kraken": _KRAKEN,
        "bybit": _BYBIT,
        "bybiteu": _BYBIT,
        "bitstamp": _BITSTAMP,
    }
)


def venue_of(exchange_id: str) -> Venue:
    """Return the line of an exchange, by its CCXT id."""
    return VENUES.get(exchange_id, OTHER)


_INTRODUCTION = """\
# What can be verified, venue by venue

Every loss that a venue's protocol lets one notice becomes a row of the gap ledger, with its cause and, where the venue
numbers its messages, with how many were missed (`missed`). Where a venue offers nothing, a lost message stays unnoticed
until the connection itself ends or falls silent: this table says where.

Everywhere: disconnects, silence longer than the configured stall, frames that cannot be read, books that CCXT could not
build, and trades that were sent twice (recorded once, by their ids; the last 2,048 of each market are remembered).
Past trades that an exchange sends at the start are not recorded as live ones (Coinbase and Kraken mark them); after a
reconnect, those of them that were missed are. On other venues every trade that arrives is recorded.

| CCXT id | book | trades | missed counted | after a gap |
|---|---|---|---|---|
"""
_CLOSING = """
## Silence

A connection on which nothing comes at all for `stall_timeout_seconds` is dead: it is made anew, and the ledger has a
`stall`. A single stream that falls silent while its connection lives is a suspicion only. It is subscribed to again,
the others go on, and the answer tells: an unchanged book, or a trade that is known already, was a quiet market; a
changed book, trades that come late, a jump in the ids, or no answer at all enter the silence as a `stall`. What turned
out to be quiet is given twice the patience, up to an hour. Patience in seconds, unless `stall_timeouts` says otherwise
(where `frames` alone are recorded, connections are watched, streams are not):

{patience}

Connections of exchanges that cut them after 24 hours (Binance and its kin, MEXC, Aster) are replaced after 23: the new
one first, then the old one closes, and nothing is lost or doubled between them. `rotate_after_hours` says so for any
other. How far this machine's clock is from each exchange's stands in the statistics line (`clock_offset_ms`), and a
second or more is warned of.

## What is checked beyond that

The native `coinbase` source checks `sequence_num` too, with few products a connection: prefer it to CCXT's, where one
connection carries all products.

An exchange time that cannot be one in milliseconds (before 2009, or a day ahead of this machine's clock) becomes null;
a price or size that is NaN or infinite is not recorded but entered as `parse_error`. Trade sides are the aggressor's.
`cost` is recorded only where the exchange sends it; so are the 24 h statistics of a ticker.

## What is kept through CCXT

- `orderbook` and `l2` come from CCXT's book, copied at each update. `l2` holds every change as CCXT applied it, a whole
  snapshot wherever the book was filled anew, and a removal where CCXT cut a book to its depth. Venues whose books CCXT
  keeps order by order have no `l2`; the log says so. A book holds 50,000 levels a side at most.
- `frames` holds the text of every message, sent and received, with secrets in sent ones replaced by `***`. Its
  `connection_id` begins with the session: `1f2e3d4c:0`, `1f2e3d4c:1` and so on are its sockets in the order in which
  they were opened. `1f2e3d4c:rest:BTC/USDT` (in) is the answer to a request for that book's snapshot, without which
  some venues' deltas build no book. `1f2e3d4c:again:BTC/USDT` (out, empty) is where that book was asked for anew.
  `1f2e3d4c:open` (out) is what the session watches: the calls, the depth, and CCXT's description of the markets. With
  these, `daedalus replay-frames --source ccxt` plays frames to the same code that recorded them, without asking the
  exchange, and writes the rows that recording live would have written.
- An exchange may use several connections. When one ends, all of that exchange are made anew: its ledger rows say so.
- Events wait in at most 32 MiB (and one frame) for the writer; then reading pauses, and the exchange's own patience
  decides. CCXT's caches of trades stay empty, and of tickers they hold one a market.
"""


def integrity_page() -> str:
    """Return the text of docs/INTEGRITY.md."""
    ids: dict[int, list[str]] = {}
    for exchange_id, venue in VENUES.items():
        ids.setdefault(id(venue), []).append(exchange_id)
    rows = [(", ".join(names), VENUES[names[0]].integrity) for names in ids.values()]
    rows.append(("every other", OTHER.integrity))
    lines = [f"| {name} | {i.book} | {i.trades} | {i.missed} | {i.resync} |" for name, i in rows]
    return _INTRODUCTION + "\n".join(lines) + "\n" + _CLOSING.replace("{patience}", _patience_table(ids))


def _patience_table(ids: Mapping[int, list[str]]) -> str:
    """Return the table of stall time-outs: one line for the usual ones, one for each venue that differs."""
    head = ["| CCXT id | orderbook, l2 | trades | ticker |", "|---|---|---|---|"]
    differing = [n for n in ids.values() if VENUES[n[0]].stall_timeouts != STALL_TIMEOUTS]
    lines = [(", ".join(n), VENUES[n[0]].stall_timeouts) for n in differing] + [("every other", STALL_TIMEOUTS)]
    rows = [f"| {name} | {t['orderbook']:g} | {t['trades']:g} | {t['ticker']:g} |" for name, t in lines]
    return "\n".join(head + rows)
