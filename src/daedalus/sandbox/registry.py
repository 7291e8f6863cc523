"""The table of protocols that the sandbox speaks. A new exchange is a new file and a line here."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from daedalus.sandbox.base import WireProtocol
from daedalus.sandbox.binance import BinanceProtocol
from daedalus.sandbox.coinbase import CoinbaseProtocol
from daedalus.sandbox.kraken import KrakenProtocol
from daedalus.sandbox.okx import OkxProtocol
from daedalus.shared.errors import ConfigError

PROTOCOLS: Mapping[str, type[WireProtocol]] = MappingProxyType(
    {protocol.name: protocol for protocol in (CoinbaseProtocol, BinanceProtocol, KrakenProtocol, OkxProtocol)}
)


def protocol(name: str) -> WireProtocol:
    """Return a protocol by its name. Raises `ConfigError` that names the nearest if there is none."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]()
    near = get_close_matches(name, PROTOCOLS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(PROTOCOLS)}"
    raise ConfigError(f"the sandbox does not speak {name!r}: {hint}")
