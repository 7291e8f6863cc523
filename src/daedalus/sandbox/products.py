"""What the synthetic market trades, and the moods it trades in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType

from daedalus.shared.errors import ConfigError


@dataclass(frozen=True)
class ProductSpec:
    """One product of the synthetic market.

    Attributes
    ----------
    price
        Where it starts, in quote units.
    decimals
        Of the price grid: the tick is ``10 ** -decimals``.
    spacing
        Ticks between neighbouring levels near the touch. 1 makes a large-tick market: its spread is mostly one tick.
    size
        Typical size of a level near the touch, in base units.
    sigma_bps
        Standard deviation of the fair value over one second in the normal mood, in basis points.
    volume_24h
        In base units, at the start.
    """

    name: str
    price: float
    decimals: int
    spacing: int
    size: float
    sigma_bps: float
    volume_24h: float


@dataclass(frozen=True)
class Mood:
    """A regime of the market: multiples of what is normal, and the seconds that it lasts on average."""

    name: str
    half_spread: float
    trading: float
    depth: float
    sigma: float
    seconds: float


MOODS: tuple[Mood, ...] = (
    Mood("normal", half_spread=0.6, trading=1.0, depth=1.0, sigma=1.0, seconds=50.0),
    Mood("calm", half_spread=0.3, trading=0.55, depth=1.5, sigma=0.6, seconds=60.0),
    Mood("stressed", half_spread=2.2, trading=2.0, depth=0.5, sigma=2.0, seconds=25.0),
)

PRODUCTS: Mapping[str, ProductSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            ProductSpec("BTC-USD", 63_310.25, 2, 60, 0.12, 0.5, 6_629.9),
            ProductSpec("ETH-USD", 2_481.60, 2, 4, 1.5, 0.6, 81_204.0),
            ProductSpec("SOL-USD", 146.20, 2, 1, 25.0, 0.5, 904_115.0),
            ProductSpec("XRP-USD", 0.5823, 4, 1, 2_500.0, 1.2, 61_450_000.0),
            ProductSpec("DOGE-USD", 0.10412, 5, 1, 12_000.0, 0.9, 212_300_000.0),
            ProductSpec("ADA-USD", 0.3912, 4, 1, 3_000.0, 1.6, 28_640_000.0),
            ProductSpec("LTC-USD", 68.35, 2, 1, 8.0, 1.1, 141_800.0),
            ProductSpec("LINK-USD", 11.402, 3, 2, 60.0, 0.9, 1_020_000.0),
            ProductSpec("AVAX-USD", 24.85, 2, 1, 30.0, 2.4, 702_000.0),
            ProductSpec("BCH-USD", 332.18, 2, 4, 1.2, 0.7, 19_400.0),
        )
    }
)


@lru_cache(maxsize=4096)
def is_product(wanted: str, product: str) -> bool:
    """Say whether a name that somebody typed means a product: case and separators do not matter.

    The market that a product belongs to, behind a dot, may be left out.

    Examples
    --------
    >>> is_product("BTC-USDT", "BTCUSDT"), is_product("btcusdt", "BTCUSDT.usdm"), is_product("BTC", "BTCUSDT")
    (True, True, False)
    """
    return _bare(wanted) in (_bare(product), _bare(product.partition(".")[0]))


def _bare(name: str) -> str:
    return "".join(c for c in name.upper() if c.isalnum())


def product_specs(names: Sequence[str]) -> tuple[ProductSpec, ...]:
    """Return the specs of products, in that order, each once.

    Raises
    ------
    ConfigError
        If there is no such product, naming the nearest, or none is asked for.
    """
    for name in names:
        if name not in PRODUCTS:
            near = get_close_matches(name.upper(), PRODUCTS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(PRODUCTS)}"
            raise ConfigError(f"the synthetic market has no product {name!r}: {hint}")
    if not names:
        raise ConfigError(f"no products: name one or more of {', '.join(PRODUCTS)}")
    return tuple(PRODUCTS[name] for name in dict.fromkeys(names))
