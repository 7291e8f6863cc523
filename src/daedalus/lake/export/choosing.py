"""From arguments to the one market that an export is of."""

import re
from typing import cast

from daedalus.lake.books import invalid_spans
from daedalus.lake.export.market import Market
from daedalus.lake.markets import ledger_of, one_market
from daedalus.lake.replay import streams_of
from daedalus.lake.selecting import Choice, partitions_of
from daedalus.lake.snapshots import from_snapshot
from daedalus.lake.streams import Stream
from daedalus.lake.tables import Layout
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import Gap

_PAIR = re.compile(r"([A-Za-z0-9.]+)[/_-]([A-Za-z0-9.]+)(?:[:].*)?")


def chosen_market(layout: Layout, choice: Choice, pair: str | None) -> Market:
    """Return the market that is chosen, with its `l2` from the snapshot before the range on, and its trades.

    Raises
    ------
    ConfigError
        If there is none, or several, or `pair` is none.
    """
    tables = layout.tables()
    named = [name for name in ("l2", "trades") if name in tables and partitions_of(tables[name], choice)]
    first = one_market(layout, layout.table(named[0] if named else "l2"), choice)
    own = Choice(first.exchange, first.symbol, choice.start, choice.end)
    streams = {name: s for name in named for s in streams_of(tables[name], None, own) if s.source == first.source}
    book = streams.get("l2")
    if book is not None:
        until = Choice(first.exchange, first.symbol, None, choice.end)
        whole = next(s for s in streams_of(tables["l2"], None, until) if s.source == first.source)
        book = Stream("l2", first.source, from_snapshot(whole.partitions, choice.start))
    entries = (cast(Gap, event) for stream in ledger_of(layout, first) for event in stream.events())
    symbol = first.own_symbol()
    return Market(
        first.exchange,
        symbol,
        _split(symbol) if pair is None else _given(pair),
        book,
        streams.get("trades"),
        invalid_spans(entries),
        choice.start,
        choice.end,
    )


def _split(symbol: str) -> tuple[str, str] | None:
    """Return base and quote of a symbol that tells them.

    Examples
    --------
    >>> _split("BTC/USDT:USDT"), _split("BTC-USD"), _split("BTCUSDT")
    (('BTC', 'USDT'), ('BTC', 'USD'), None)
    """
    match = _PAIR.fullmatch(symbol)
    return (match[1].upper(), match[2].upper()) if match else None


def _given(pair: str) -> tuple[str, str]:
    split = _split(pair)
    if split is None:
        raise ConfigError(f"{pair!r} is no pair: write BASE/QUOTE, such as BTC/USDT")
    return split
