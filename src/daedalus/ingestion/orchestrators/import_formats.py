"""The table of formats that can be imported: how each is read, and which parser knows what it says.

A `Feed` takes what the readers give and hands it to parsers, one an exchange. It knows which file is about which
exchange; what a frame means is the parser's to know.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import urlsplit

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.binance_parser import BinanceParser, market_type
from daedalus.ingestion.collectors.bitstamp_parser import BitstampLogParser, BitstampParser
from daedalus.ingestion.collectors.coinbase_exchange_parser import CoinbaseExchangeParser
from daedalus.ingestion.collectors.frame_parser import FrameParser, ParserSettings
from daedalus.ingestion.collectors.kraken_parser import KrakenParser
from daedalus.ingestion.collectors.okx_parser import OkxParser
from daedalus.ingestion.collectors.tardis_parser import TardisParser
from daedalus.ingestion.orchestrators.import_inputs import Broken, InputFile
from daedalus.ingestion.orchestrators.market_names import MarketNames
from daedalus.recordings.base import Capture, Unreadable
from daedalus.recordings.binance_raw import read_binance_raw
from daedalus.recordings.bitstamp_log import read_bitstamp_log
from daedalus.recordings.coinbase_exchange import read_coinbase_exchange
from daedalus.recordings.cryptofeed import read_cryptofeed
from daedalus.recordings.tardis_csv import TardisMessage, read_tardis_csv
from daedalus.shared.clock import NS_PER_SECOND
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import BookDelta, BookSnapshot, Event, Gap, Ticker, Trade

#: Silence between two files that counts as an interval in which nothing was recorded.
PAUSE_NS = 60 * NS_PER_SECOND

About = tuple[str, type[FrameParser]]
"""An exchange and the parser of its frames."""


@dataclass(frozen=True)
class FeedOptions:
    """What of the rows is for the user to say.

    Attributes
    ----------
    exchange
        The exchange's name in the lake; None for the format's own.
    symbols
        ``OLD=NEW``, or one name for the only market; see `MarketNames`.
    channels, depth, interval_ms
        See `ParserSettings`.
    """

    exchange: str | None
    symbols: tuple[str, ...]
    channels: frozenset[str]
    depth: int
    interval_ms: int


#: For formats in which each item says what it is about, whatever file it is in.
_ANY = Path()
_CHANNELS: Mapping[type[Event], str] = {Ticker: "ticker", Trade: "trades", BookDelta: "l2", BookSnapshot: "orderbook"}


class Feed:
    """What the formats share: parsers by exchange, pauses between files, and what is done when nothing can be read."""

    #: Of a format that is about one exchange.
    exchange: ClassVar[str] = ""
    parser_class: ClassVar[type[FrameParser]] = FrameParser

    def __init__(self, options: FeedOptions) -> None:
        self._options, self._names = options, MarketNames(options.symbols)
        self._parsers: dict[str, FrameParser] = {}
        self._by_file: dict[int, FrameParser] = {}
        self._last: dict[FrameParser, tuple[int, int]] = {}
        self._streams: dict[int, set[Stream]] = {}

    def about(self, path: Path, item: Any) -> About:
        """Return the exchange that an item of a file is about, and its parser."""
        return self.exchange, self.parser_class

    def check(self, number: int, file: InputFile) -> None:
        """Make ready for a file. Raises `ConfigError` if it cannot be imported with these options."""
        if file.about is not None:
            self._parser(number, *file.about)

    def take(self, number: int, item: Any, now: int) -> list[Event]:
        """Return the events of an item of a file, received at `now` (ns)."""
        if isinstance(item, Unreadable | Broken):
            text = item.text if isinstance(item, Unreadable) else ""
            where = f"line {item.line}: {item.reason}" if isinstance(item, Unreadable) else item.reason
            return self._of(number).unreadable(where, text, now, self._streams.get(number)) if now else []
        parser = self._route(number, item)
        before = self._last.get(parser)
        events: list[Event] = []
        if before is not None and before[0] != number and now - before[1] > PAUSE_NS:
            events += parser.interrupted(before[1], now, "nothing was recorded between one file and the next")
        events += self._give(parser, number, item, now)
        self._last[parser] = number, now
        streams = self._streams.setdefault(number, set())
        streams.update((event.symbol, _CHANNELS[type(event)]) for event in events if not isinstance(event, Gap))
        return events

    def finish(self, files: Container[int], detail: str) -> list[Event]:
        """End the recordings that end in one of these files."""
        rows: list[Event] = []
        for parser, (number, now) in self._last.items():
            rows += parser.finish(now, detail) if number in files else ()
        return rows

    @property
    def notes(self) -> list[str]:
        """What a person should know."""
        seen = [symbol for parser in self._parsers.values() for symbol, _ in parser.streams()]
        said = [f"{name}: {note}" for name, parser in self._parsers.items() for note in parser.notes]
        return said + self._names.unused(seen)

    @property
    def malformed(self) -> int:
        """What could not be read, frames with wrong content included."""
        return sum(parser.count.malformed for parser in self._parsers.values())

    # -- for subclasses -----------------------------------------------------------------------------------------------

    def _route(self, number: int, item: Any) -> FrameParser:
        """Return the parser of an item."""
        return self._parser(number, *self.about(_ANY, item))

    def _give(self, parser: FrameParser, number: int, item: Any, now: int) -> list[Event]:
        """Give an item to its parser."""
        if isinstance(item, Capture):
            return parser.answered(item.url, item.text, now) if item.kind == "answered" else parser.feed(item.text, now)
        return parser.take(item, now)

    def _of(self, number: int) -> FrameParser:
        """Return the parser of the file's latest item."""
        known = self._by_file.get(number) or next(iter(self._parsers.values()), None)
        return known or self._parser(number, self.exchange, self.parser_class)

    def _parser(self, number: int, exchange: str, kind: type[FrameParser]) -> FrameParser:
        """Return the parser of an exchange, and remember that the file is about it."""
        found = self._parsers.get(exchange)
        if found is None:
            if self._options.exchange and self._parsers:
                there = next(iter(self._parsers))
                raise ConfigError(
                    f"--exchange {self._options.exchange}: the files are about {there} and {exchange}: "
                    "import them one after the other, or leave --exchange out"
                )
            found = self._parsers[exchange] = kind(
                ParserSettings(
                    exchange=self._options.exchange or exchange,
                    channels=self._options.channels,
                    depth=self._options.depth,
                    interval_ms=self._options.interval_ms,
                    name=self._names.of(exchange),
                )
            )
        self._by_file[number] = found
        return found


class BinanceFeed(Feed):
    """Raw frames of Binance: each says by its fields which market it is of."""

    exchange, parser_class = "binance", BinanceParser
    _MARKETS: ClassVar[Mapping[str, str]] = {"spot": "binance", "usdm": "binanceusdm", "coinm": "binancecoinm"}

    def about(self, path: Path, item: Capture) -> About:
        """Return the market's exchange and parser."""
        return self._MARKETS[market_type(item.text)], BinanceParser


#: Hosts and cryptofeed's names of exchanges that captures may be of.
_VENUES: Mapping[str, tuple[str, type[FrameParser]]] = MappingProxyType(
    {
        **dict.fromkeys(("stream.binance.us", "api.binance.us", "BINANCE_US"), ("binanceus", BinanceParser)),
        **dict.fromkeys(("stream.binance.com", "api.binance.com", "BINANCE"), ("binance", BinanceParser)),
        **dict.fromkeys(("fstream.binance.com", "fapi.binance.com", "BINANCE_FUTURES"), ("binanceusdm", BinanceParser)),
        **dict.fromkeys(
            ("dstream.binance.com", "dapi.binance.com", "BINANCE_DELIVERY"), ("binancecoinm", BinanceParser)
        ),
        **dict.fromkeys(
            (
                "ws-feed.pro.coinbase.com",
                "ws-feed.exchange.coinbase.com",
                "ws-feed.gdax.com",
                "api.pro.coinbase.com",
                "COINBASE",
            ),
            ("coinbase", CoinbaseExchangeParser),
        ),
        **dict.fromkeys(("ws.okx.com", "ws.okex.com", "www.okx.com", "OKX", "OKEX"), ("okx", OkxParser)),
        **dict.fromkeys(("ws.kraken.com", "api.kraken.com", "KRAKEN"), ("kraken", KrakenParser)),
        **dict.fromkeys(("ws.bitstamp.net", "www.bitstamp.net", "BITSTAMP"), ("bitstamp", BitstampParser)),
    }
)


class CryptofeedFeed(Feed):
    """Captures of cryptofeed: the address that a file connects to says which exchange it is of."""

    def __init__(self, options: FeedOptions) -> None:
        super().__init__(options)
        self._last_ns: dict[int, int] = {}

    def about(self, path: Path, item: Capture | None) -> About:
        """Find out which exchange a file is of. Raises `ConfigError` if it is none of those known."""
        host = urlsplit(item.url).hostname or "" if item else ""
        venue = _VENUES.get(host) or _VENUES.get(path.name.split(".")[0])
        if venue is None:
            known = ", ".join(sorted({name for name, _ in _VENUES.values()}))
            raise ConfigError(f"{path}: a capture of {host or 'no known address'}: captures can be imported of {known}")
        return venue

    def check(self, number: int, file: InputFile) -> None:
        """Make ready for a file, also if it begins with nothing readable."""
        self._parser(number, *(file.about or self.about(file.path, None)))

    def _route(self, number: int, item: Capture) -> FrameParser:
        return self._by_file[number]

    def _give(self, parser: FrameParser, number: int, item: Capture, now: int) -> list[Event]:
        streams, events = self._streams.get(number), list[Event]()
        if item.kind in ("received", "answered"):
            events = super()._give(parser, number, item, now)
        elif item.kind == "connected" and streams:
            events = parser.interrupted(self._last_ns[number], now, f"connected again to {item.url}", streams)
        self._last_ns[number] = now
        return events


class CoinbaseExchangeFeed(Feed):
    """Sessions of the older Coinbase feed."""

    exchange, parser_class = "coinbase", CoinbaseExchangeParser


class TardisFeed(Feed):
    """CSV data sets of Tardis: a column names the exchange."""

    exchange, parser_class = "tardis", TardisParser

    def about(self, path: Path, item: TardisMessage) -> About:
        """Return the row's exchange."""
        return item.exchange, TardisParser


class BitstampLogFeed(Feed):
    """Logs of Bitstamp's former feed, which name no market."""

    exchange, parser_class = "bitstamp", BitstampLogParser

    def check(self, number: int, file: InputFile) -> None:
        """Ask for the market's name."""
        super().check(number, file)
        if not self._options.symbols:
            raise ConfigError(f"{file.path}: such logs do not name their market: say it, as in --symbol btcusd")


@dataclass(frozen=True)
class ImportFormat:
    """How a format is read and understood."""

    read: Callable[[Path], Iterator[Any]]
    feed: type[Feed]


FORMATS: Mapping[str, ImportFormat] = MappingProxyType(
    {
        "binance-raw": ImportFormat(read_binance_raw, BinanceFeed),
        "cryptofeed": ImportFormat(read_cryptofeed, CryptofeedFeed),
        "coinbase-exchange": ImportFormat(read_coinbase_exchange, CoinbaseExchangeFeed),
        "tardis-csv": ImportFormat(read_tardis_csv, TardisFeed),
        "bitstamp-log": ImportFormat(read_bitstamp_log, BitstampLogFeed),
    }
)
