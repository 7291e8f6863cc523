"""Which trades have been recorded, by their ids, so that a trade that comes again is recognised."""

from collections import deque

#: Ids remembered of each market: many times what an exchange sends of the past.
TRADE_IDS_MAX = 2_000


class SeenTrades:
    """The trade ids of each market, over all connections of a collector. Bounded by `TRADE_IDS_MAX` a market."""

    def __init__(self) -> None:
        self._ids: dict[str, tuple[set[str], deque[str]]] = {}

    def add(self, symbol: str, trade_id: str) -> bool:
        """Remember an id; return whether it is new."""
        ids, order = self._ids.setdefault(symbol, (set(), deque()))
        if trade_id in ids:
            return False
        if len(order) >= TRADE_IDS_MAX:
            ids.discard(order.popleft())
        ids.add(trade_id)
        order.append(trade_id)
        return True

    def knows(self, symbol: str) -> bool:
        """Tell whether any trade of the market was seen."""
        return symbol in self._ids

    def copy(self) -> "SeenTrades":
        """Return an independent memory of the same trades."""
        other = SeenTrades()
        other._ids = {symbol: (ids.copy(), order.copy()) for symbol, (ids, order) in self._ids.items()}
        return other
