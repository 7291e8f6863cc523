"""The table of sources: one line each. The pipeline knows only the contract."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from daedalus.ingestion.collectors.base import Collector, TokenBucket
from daedalus.shared.clock import Clock
from daedalus.shared.errors import ConfigError


def _coinbase(options: Mapping[str, Any], clock: Clock) -> list[Collector]:
    from daedalus.ingestion.collectors.coinbase_ws import MESSAGES_PER_SECOND, CoinbaseCollector

    rest = dict(options)
    symbols, per_connection = list(dict.fromkeys(rest.pop("symbols"))), rest.pop("symbols_per_connection")
    if not symbols:
        raise ConfigError("coinbase.symbols is empty: name at least one product, such as BTC-USD")
    bucket = TokenBucket(MESSAGES_PER_SECOND, MESSAGES_PER_SECOND, clock)
    groups = [symbols[i : i + per_connection] for i in range(0, len(symbols), per_connection)]
    return [CoinbaseCollector(symbols=group, clock=clock, bucket=bucket, **rest) for group in groups]


SOURCES: dict[str, Callable[[Mapping[str, Any], Clock], Sequence[Collector]]] = {
    "coinbase": _coinbase,
}
