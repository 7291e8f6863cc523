"""What an exchange would publish of a product: its currencies, and the grids of its prices and sizes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from daedalus.sandbox.base import MarketSource
from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.products import PRODUCTS
from daedalus.sandbox.view import MarketView

InstrumentKind = Literal["spot", "swap", "future"]

#: Levels per side that tell a grid.
SAMPLE_LEVELS = 500
#: Decimals where nothing tells.
PRICE_DECIMALS, SIZE_DECIMALS = 2, 8
# Quotes of names without a separator, longest first: BTCFDUSD is BTC and FDUSD, not BTCFD and USD.
_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "TRY", "BTC", "ETH", "BNB")
_PARTS = re.compile(r"([A-Z0-9]+)[-/_]([A-Z0-9]+)(?:[-_](SWAP|PERP|\d{6}))?")


@dataclass(frozen=True)
class Instrument:
    """One product.

    Attributes
    ----------
    product
        The source's name for it.
    name
        The same without the market behind the dot.
    base, quote
        Currencies, by their usual names.
    expiry
        Six digits, ``yymmdd``, of a dated future; else empty.
    price_decimals, size_decimals
        Of the grids; trailing zeros do not count.
    price_digits
        Decimals that prices are written with, trailing zeros included.
    """

    product: str
    name: str
    base: str
    quote: str
    kind: InstrumentKind
    expiry: str
    price_decimals: int
    size_decimals: int
    price_digits: int

    @property
    def price_step(self) -> str:
        """The tick, as text."""
        return step(self.price_decimals)

    @property
    def size_step(self) -> str:
        """The step of sizes, as text."""
        return step(self.size_decimals)


def instruments(source: MarketSource) -> dict[str, Instrument]:
    """Return what a source trades, by product."""
    view = sample(source)
    return {product: instrument_of(product, view) for product in source.products}


def sample(source: MarketSource) -> MarketView:
    """Return a view that shows what prices and sizes of a source look like."""
    if isinstance(source, CaptureSource):
        return source.sample
    feed = source.open()
    feed.close()
    return feed.view


def bare_name(product: str) -> str:
    """Return a product's symbol as exchanges without separators write it.

    Examples
    --------
    >>> bare_name("BTC-USD"), bare_name("BTCUSD_PERP.coinm")
    ('BTCUSD', 'BTCUSD_PERP')
    """
    return product.partition(".")[0].replace("-", "").replace("/", "")


def step(decimals: int) -> str:
    """Return ``10 ** -decimals`` as text.

    Examples
    --------
    >>> step(2), step(0)
    ('0.01', '1')
    """
    return f"{10.0**-decimals:.{decimals}f}"


def padded(text: str, decimals: int) -> str:
    """Return a number's text with at least so many decimals.

    Examples
    --------
    >>> padded("1.5", 3), padded("2", 1), padded("0.1234", 2)
    ('1.500', '2.0', '0.1234')
    """
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.ljust(decimals, '0')}" if decimals else text


def instrument_of(product: str, view: MarketView) -> Instrument:
    """Return what can be told of a product from its name, and from the prices and sizes in a view."""
    name, _, market = product.partition(".")
    base, quote, suffix = _split(name)
    dated = suffix.isdigit() and len(suffix) == 6
    kind: InstrumentKind = "future" if dated else "swap" if suffix or market else "spot"
    prices, sizes = _texts(product, view)
    known = PRODUCTS.get(product)
    return Instrument(
        product=product,
        name=name,
        base=base,
        quote=quote,
        kind=kind,
        expiry=suffix if dated else "",
        price_decimals=known.decimals if known else _decimals(map(_stripped, prices), PRICE_DECIMALS),
        size_decimals=SIZE_DECIMALS if known else _decimals(map(_stripped, sizes), SIZE_DECIMALS),
        price_digits=known.decimals if known else _decimals(prices, PRICE_DECIMALS),
    )


def _split(name: str) -> tuple[str, str, str]:
    """Return base, quote, and what follows: SWAP, PERP, a date, or nothing."""
    if match := _PARTS.fullmatch(name):
        if match[2] not in ("PERP", "SWAP") and not match[2].isdigit():
            return match[1], match[2], match[3] or ""
        base, quote, _ = _split(match[1])
        return base, quote, match[2]
    quote = next((q for q in _QUOTES if name.endswith(q) and name != q), "")
    return (name.removesuffix(quote), quote, "") if quote else (name, "USD", "")


def _texts(product: str, view: MarketView) -> tuple[list[str], list[str]]:
    book = view.books[product]
    levels = [*book.levels("bid", SAMPLE_LEVELS), *book.levels("ask", SAMPLE_LEVELS)]
    trades = view.trades[product]
    return [p for p, _ in levels] + [t.price for t in trades], [s for _, s in levels] + [t.size for t in trades]


def _stripped(text: str) -> str:
    return text.rstrip("0") if "." in text else text


def _decimals(texts: Iterable[str], default: int) -> int:
    return max((len(text.partition(".")[2]) for text in texts), default=default)
