"""One market of a table, and what the gap ledger holds of it."""

from daedalus.lake.replay import streams_of
from daedalus.lake.selecting import Choice, nothing_matches
from daedalus.lake.streams import Stream
from daedalus.lake.tables import Layout, Table
from daedalus.shared.errors import ConfigError


def one_market(layout: Layout, table: Table, choice: Choice) -> Stream:
    """Return the market that is chosen. Raises `ConfigError` when there is none, or several."""
    streams = streams_of(table, None, choice)
    if not streams:
        raise nothing_matches(layout, table, choice)
    if len(streams) > 1:
        names = ", ".join(f"{s.exchange} {s.symbol} of source {s.source}" for s in streams)
        raise ConfigError(f"{table.name} has several: {names}. Give symbol= and exchange=, or open_lake(source=)")
    return streams[0]


def ledger_of(layout: Layout, market: Stream) -> list[Stream]:
    """Return what the gap ledger holds of a market, over all time: gaps are few."""
    table = layout.tables().get("gaps")
    found = streams_of(table, [market.symbol], Choice(market.exchange)) if table else []
    return [s for s in found if s.source == market.source]
