"""From arguments to files: the partitions of a table that a market and a range of time select, and no others."""

from dataclasses import dataclass

from daedalus.lake.tables import Layout, Table
from daedalus.lake.times import Instant, instant_ns
from daedalus.shared.clock import utc
from daedalus.shared.errors import ConfigError
from daedalus.shared.filters import FilterSpec
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition, find_partitions

_SHOWN_MAX = 12


@dataclass(frozen=True)
class Choice:
    """A market and a range [start, end), ns since the epoch; None selects all.

    Names are taken in either spelling: ``BTC/USD`` is ``BTC-USD``.
    """

    exchange: str | None = None
    symbol: str | None = None
    start: int | None = None
    end: int | None = None

    @classmethod
    def of(cls, exchange: str | None, symbol: str | None, start: Instant, end: Instant) -> "Choice":
        """Return the choice of a call's arguments. Raises `ConfigError` if the range is empty or no time."""
        since, until = instant_ns(start), instant_ns(end)
        if since is not None and until is not None and since >= until:
            raise ConfigError(f"start {start} is not before end {end}")
        return cls(exchange, symbol, since, until)

    @property
    def filter(self) -> FilterSpec:
        """Return the filter by partition, which may select more than the range, never less."""
        start = None if self.start is None else utc(self.start)
        end = None if self.end is None else utc(self.end + 999)
        return FilterSpec(exchange=self.exchange, symbol=self.symbol, start=start, end=end)

    def __str__(self) -> str:
        filter = self.filter
        named = [f"{key} {value}" for key, value in (("exchange", filter.exchange), ("symbol", filter.symbol)) if value]
        named += [f"{word} {utc(ns):%Y-%m-%dT%H:%M:%S}" for word, ns in (("from", self.start), ("to", self.end)) if ns]
        return ", ".join(named) or "no filter"


def partitions_of(table: Table, choice: Choice) -> list[tuple[str, Partition]]:
    """Return (source, partition) of all that is chosen, by source, market and time."""
    chosen = choice.filter
    return [(source, found) for source, root in table.roots for found in find_partitions(root, chosen)]


def segments_of(layout: Layout, table: Table, choice: Choice) -> list[tuple[Place, int]]:
    """Return (file, bytes) of all that is chosen.

    Raises
    ------
    ConfigError
        If that is nothing; it says what there is.
    """
    found = partitions_of(table, choice)
    if not found:
        raise nothing_matches(layout, table, choice)
    return [pair for _, part in found for pair in zip(part.segments(), part.sizes, strict=True)]


def nothing_matches(layout: Layout, table: Table, choice: Choice) -> ConfigError:
    """Return the error for a choice that selects nothing of a table: it says what there is."""
    markets: dict[tuple[str, str], list[Partition]] = {}
    for _, part in partitions_of(table, Choice()):
        markets.setdefault((part.exchange, part.symbol), []).append(part)
    lines = [f"{layout.base.url}: nothing in {table.name} matches {choice}. There are:"]
    for (exchange, symbol), parts in sorted(markets.items())[:_SHOWN_MAX]:
        first, last = min(part.start for part in parts), max(part.end for part in parts)
        lines.append(f"  exchange {exchange}, symbol {symbol}: {first:%Y-%m-%dT%H:%M} to {last:%Y-%m-%dT%H:%M}")
    if len(markets) > _SHOWN_MAX:
        lines.append(f"  and {len(markets) - _SHOWN_MAX} more")
    return ConfigError("\n".join(lines))
