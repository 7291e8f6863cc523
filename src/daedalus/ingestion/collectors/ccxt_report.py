"""What of a configuration an exchange cannot give: named, so that the others go on knowingly."""

from collections.abc import Collection, Mapping
from typing import Any

import structlog

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.ccxt_markets import Plan
from daedalus.ingestion.collectors.ccxt_settings import Settings
from daedalus.shared.errors import RefusedError

log = structlog.get_logger(__name__)


def report(plan: Plan, has: Mapping[str, Any], settings: Settings, refused: Collection[Stream]) -> None:
    """Log what cannot be recorded. Raises `RefusedError` when nothing can."""
    exchange = settings.exchange
    for method, symbol, near in plan.unknown:
        log.error("symbol_unknown", exchange=exchange, method=method, symbol=symbol, did_you_mean=near or None)
    can = sorted(name for name, yes in has.items() if yes is True and name.startswith("watch"))
    for method in plan.unsupported:
        log.error("method_unsupported", exchange=exchange, method=method, there_are=can)
    for symbol in plan.conflicts:
        log.error("quotes_left_out", exchange=exchange, symbol=symbol, why="they would spoil its order book")
    for symbol, other in plan.aliases:
        log.info("symbol_alias", exchange=exchange, symbol=symbol, recorded_as=other)
    if plan.calls:
        return
    wrong = [f"{symbol} (did you mean {near}?)" if near else symbol for _, symbol, near in plan.unknown]
    wrong += [f"{method} (it has {', '.join(can)})" for method in plan.unsupported]
    wrong += [f"{symbol} (refused)" for symbol, _ in sorted(refused)]
    raise RefusedError(
        f"{exchange} has nothing of what ccxt.exchanges.{settings.exchange_id}.channels asks for: "
        f"{'; '.join(wrong) or 'it names no symbols'}"
    )
