"""The table of sources: one line each. The pipeline knows only the contract."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from daedalus.ingestion.collectors.base import Collector
from daedalus.ingestion.collectors.pace import HostPaces
from daedalus.ingestion.collectors.rotation import hours_of, rotated
from daedalus.shared.clock import Clock
from daedalus.shared.errors import ConfigError

log = structlog.get_logger(__name__)


def _coinbase(options: Mapping[str, Any], clock: Clock, paces: HostPaces) -> list[Collector]:
    from daedalus.ingestion.collectors.coinbase_ws import LIMITS, URL, CoinbaseCollector

    rest = dict(options)
    hours = rest.pop("rotate_after_hours", None)
    symbols, per_connection = list(dict.fromkeys(rest.pop("symbols"))), rest.pop("symbols_per_connection")
    if not symbols:
        raise ConfigError("coinbase.symbols is empty: name at least one product, such as BTC-USD")
    for alias in [s for s in symbols if s.endswith("-USDC") and s.removesuffix("C") in symbols]:
        symbols.remove(alias)
        log.warning("symbol_is_an_alias", symbol=alias, recorded_as=alias.removesuffix("C"))
    pace = paces.of(rest.get("url", URL), LIMITS)
    groups = [symbols[i : i + per_connection] for i in range(0, len(symbols), per_connection)]
    return [
        rotated(partial(CoinbaseCollector, symbols=group, clock=clock, pace=pace, **rest), hours, clock)
        for group in groups
    ]


def _ccxt(options: Mapping[str, Any], clock: Clock, paces: HostPaces) -> list[Collector]:
    from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector

    hours = options.get("rotate_after_hours", {})
    return [
        rotated(partial(CcxtCollector, name, clock=clock, paces=paces, **rest), hours_of(name, hours.get(name)), clock)
        for name, rest in options["exchanges"].items()
    ]


#: Each makes a source's collectors of its options, the clock, and the paces that all sources of the process share.
SOURCES: dict[str, Callable[[Mapping[str, Any], Clock, HostPaces], Sequence[Collector]]] = {
    "coinbase": _coinbase,
    "ccxt": _ccxt,
}
