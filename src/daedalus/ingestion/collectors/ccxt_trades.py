"""Which trades of each market were seen: so that each is recorded once, and a jump in the ids is noticed."""

from collections import deque

#: Trade ids remembered per market: more than any exchange sends again.
TRADE_IDS_MAX = 2048


class _Market:
    """The ids of one market, oldest first; digits are kept as numbers, which take half the memory."""

    __slots__ = ("ids", "last", "order")

    def __init__(self) -> None:
        self.ids: set[int | str] = set()
        self.order: deque[int | str] = deque()
        self.last: int | None = None


class TradeMemory:
    """Trade ids over all connections of a collector, at most `TRADE_IDS_MAX` a market."""

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}

    def copy(self) -> "TradeMemory":
        """Return an independent memory of the same trades, for a connection that another one stands beside.

        It does not know which came last: until it is alone the other one goes on, and a jump would mean nothing.
        """
        other = TradeMemory()
        for symbol, market in self._markets.items():
            made = other._markets[symbol] = _Market()
            made.ids, made.order = market.ids.copy(), market.order.copy()
        return other

    def knows(self, symbol: str) -> bool:
        """Tell whether any trade of the market was seen."""
        return symbol in self._markets

    def add(self, symbol: str, trade_id: str) -> int | None:
        """Remember an id.

        Returns
        -------
        int or None
            None if it is remembered already; otherwise how many ids lie between it and the largest one before, 0 if
            that is not known or the ids are no numbers.
        """
        market = self._markets.get(symbol)
        if market is None:
            market = self._markets[symbol] = _Market()
        key: int | str = int(trade_id) if trade_id.isdecimal() and len(trade_id) < 19 else trade_id
        if key in market.ids:
            return None
        if len(market.order) >= TRADE_IDS_MAX:
            market.ids.discard(market.order.popleft())
        market.ids.add(key)
        market.order.append(key)
        if isinstance(key, str):
            return 0
        last = market.last
        if last is None or key > last:
            market.last = key
        return max(0, key - last - 1) if last is not None else 0
