"""Streams of Binance by their names: ``btcusdt@depth@100ms``, ``!miniTicker@arr``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from daedalus.sandbox.binance_frames import Market
from daedalus.sandbox.updates import Kind, Level
from daedalus.sandbox.windows import ChangeWindow

#: What each channel tells of. Others are accepted where a recording has them.
CHANNELS: Mapping[str, Kind] = {
    "depth": "book",
    "trade": "trades",
    "aggTrade": "trades",
    "bookTicker": "ticker",
    "ticker": "ticker",
    "miniTicker": "ticker",
}
#: How often a depth stream tells, in ms, when its name does not say.
DEPTH_MS: Mapping[Market, int] = {"spot": 1000, "usdm": 250, "coinm": 250}
_US_PER_MS = 1000


@dataclass
class Stream:
    """One stream that a client asked for.

    Attributes
    ----------
    name
        As the client wrote it.
    product
        Empty for one of all products, and for a symbol that does not trade.
    is_of_all
        Of all products: its name begins with "!".
    is_verbatim
        The source has the exchange's own frames of it.
    window
        What changed since the last message, for `depth`.
    quotes
        What `bookTicker` last told: best bid and ask.
    """

    name: str
    symbol: str
    product: str
    channel: str
    is_of_all: bool = False
    is_verbatim: bool = False
    window: ChangeWindow = field(default_factory=lambda: ChangeWindow(0))
    quotes: tuple[Level, Level] | None = None


def stream_of(
    name: str, market: Market, products: Mapping[str, str], verbatim: frozenset[tuple[str, str]]
) -> Stream | None:
    """Return the stream of a name, None if it is no name of a stream.

    Parameters
    ----------
    products
        Names of products by lower-case symbol, of the client's market.
    verbatim
        (product, channel) pairs that the source has frames of.
    """
    symbol, _, rest = name.partition("@")
    channel, _, speed = rest.partition("@")
    if symbol.startswith("!") and len(symbol) > 1:
        return Stream(name, "", "", symbol[1:], is_of_all=True)
    if not symbol or not channel:
        return None
    product = products.get(symbol.lower(), "")
    stream = Stream(name, symbol.upper(), product, channel, is_verbatim=(product, channel) in verbatim)
    if channel == "depth":
        milliseconds = speed.removesuffix("ms") or str(DEPTH_MS[market])
        if not milliseconds.isdigit():
            return None
        stream.window = ChangeWindow(int(milliseconds) * _US_PER_MS)
    return stream
