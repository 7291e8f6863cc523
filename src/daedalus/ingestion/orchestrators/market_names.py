"""The names that markets get in the lake: the exchange's own, or those that a user asked for."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from daedalus.shared.errors import ConfigError


class MarketNames:
    """Symbols by the exchange's ids.

    Parameters
    ----------
    given
        ``OLD=NEW`` for each market to be called otherwise; or one name alone, for recordings of a single market.

    Raises
    ------
    ConfigError
        If there is more than one name alone, or names of both kinds. Also when a second market comes where one name
        alone was given.

    Examples
    --------
    >>> name = MarketNames(["BTCUSDT=BTC/USDT"]).of("binance")
    >>> name("BTCUSDT"), name("ETHUSDT")
    ('BTC/USDT', 'ETHUSDT')
    """

    def __init__(self, given: Sequence[str]) -> None:
        alone = [text for text in given if "=" not in text]
        if alone and len(given) > 1:
            raise ConfigError(f"--symbol {alone[0]}: several markets need OLD=NEW for each, such as BTCUSDT=BTC/USDT")
        self._alone = alone[0] if alone else ""
        self._renamed = dict(text.split("=", 1) for text in given if "=" in text)
        self._first: tuple[str, str] | None = None
        empty = [text for text in given if not text.strip() or text.startswith("=") or text.endswith("=")]
        if empty:
            raise ConfigError(f"--symbol {empty[0]!r}: a name is missing; write OLD=NEW or NEW")

    def of(self, exchange: str) -> Callable[[str], str]:
        """Return the function that names an exchange's markets."""
        if not self._alone:
            return lambda market: self._renamed.get(market, market)

        def name(market: str) -> str:
            if self._first is None:
                self._first = exchange, market
            if self._first != (exchange, market):
                where, first = self._first
                raise ConfigError(
                    f"--symbol {self._alone}: the files hold {first} of {where} and {market} of {exchange}: "
                    f"write {first}={self._alone}, or import them one after the other"
                )
            return self._alone

        return name

    def unused(self, seen: Sequence[str]) -> list[str]:
        """Return words about names given to markets that never came, with the nearest that did."""
        missing = [old for old, new in self._renamed.items() if new not in seen]
        near = {old: get_close_matches(old, seen, 1) for old in missing}
        return [
            f"no market {old} in the files" + (f" (did you mean {near[old][0]}?)" if near[old] else "")
            for old in missing
        ]
