"""The lake, for people: what there is, lazy frames, SQL, rebuilt books, replay, and tables aligned on a grid."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa

from daedalus.lake import aligning, query, summary
from daedalus.lake.aligning import Pick
from daedalus.lake.books import Books
from daedalus.lake.catalogue import catalogue
from daedalus.lake.export import formats
from daedalus.lake.export.choosing import chosen_market
from daedalus.lake.markets import ledger_of, one_market
from daedalus.lake.quality.report import Quality, measure
from daedalus.lake.quality.rows import with_quality_ok
from daedalus.lake.replay import Replay, streams_of
from daedalus.lake.scanning import chosen_columns, cut, lazy_frame, lazy_frames
from daedalus.lake.selecting import Choice, nothing_matches, segments_of
from daedalus.lake.snapshots import from_snapshot
from daedalus.lake.streams import ORDER, Stream
from daedalus.lake.tables import Layout, Table
from daedalus.lake.times import Instant, Span, span_ns
from daedalus.shared.errors import ConfigError, CorruptError, NotFoundError
from daedalus.shared.events import BookDelta, Gap
from daedalus.storage.base import Place, Storage
from daedalus.storage.factory import address, make_storage
from daedalus.storage.local import LocalStorage, as_storage
from daedalus.storage.replaced import looked_again


class Lake:
    """Everything that was recorded and computed under one base. Every call looks at the files anew.

    Nothing but `quality` ever writes.
    Symbols are taken in either spelling (``BTC/USD``, ``BTC-USD``); times as ISO text, dates, datetimes (naive ones
    are UTC) or ns since the epoch, and ranges are [start, end). What matches nothing raises `ConfigError`, which says
    what there is.

    Parameters
    ----------
    layout
        Where the layers lie; `open_lake` makes it.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def tables(self) -> list[str]:
        """Return the names of the tables: channels, features (``trades_features``), bars (``bars_60s``)."""
        return list(self._layout.tables())

    def scan(
        self,
        table: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Instant = None,
        end: Instant = None,
        columns: Sequence[str] | None = None,
        quality_ok: bool = False,
    ) -> pl.LazyFrame:
        """Return rows of a table as a lazy frame over exactly the files that hold them.

        Rows come market by market, in the order of time as far as segments do not overlap.

        Parameters
        ----------
        table
            A name of `tables`.
        exchange, symbol
            Only these.
        start, end
            [start, end) of `collected_at`, of bars `bar_start`.
        columns
            Only these, in this order.
        quality_ok
            Of features: add a column of that name, false in gaps, on broken and on stale books (`with_quality_ok`).

        Raises
        ------
        ConfigError
            If there is no such table, or nothing matches.
        SchemaError
            If there is no such column.
        """
        choice = Choice.of(exchange, symbol, start, end)
        found = self._layout.table(table)
        rows = self._rows(found, choice)
        rows = cut(rows, found.time, choice.start, choice.end)
        if not quality_ok:
            return chosen_columns(rows, columns, found.name)
        judged = with_quality_ok(self._layout, found, exchange, rows)
        return chosen_columns(judged, None if columns is None else [*columns, "quality_ok"], found.name)

    def sql(self, statement: str) -> pl.DataFrame:
        """Return the result of a query in DuckDB's SQL over the lake's tables, as a frame.

        Filters on partition columns (`exchange`, `symbol`, `year` ...) decide which files are opened.

        Raises
        ------
        ConfigError
            If the query is wrong.
        """
        frame = pl.from_arrow(query.rows(self._layout.tables(), statement))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def sql_batches(self, statement: str) -> pa.RecordBatchReader:
        """Return the result of a query batch after batch, for results larger than memory. See `sql`."""
        return query.run(self._layout.tables(), statement)

    def catalog(
        self,
        table: str | None = None,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Instant = None,
        end: Instant = None,
    ) -> pl.DataFrame:
        """Return what there is: a row for each table, source and market, with range, hours, segments, rows and bytes.

        See `catalogue.catalogue`; nothing that matches is an empty frame here.
        """
        tables = [self._layout.table(table)] if table is not None else list(self._layout.tables().values())
        return catalogue(tables, Choice.of(exchange, symbol, start, end))

    def books(
        self,
        symbol: str,
        start: Instant = None,
        end: Instant = None,
        *,
        depth: int | None = 20,
        every: Span | None = None,
        exchange: str | None = None,
    ) -> Books:
        """Return order books rebuilt from `l2`, frame by frame or with `.collect()` as one. See `Books`.

        Parameters
        ----------
        symbol, exchange
            One market; the exchange is needed where several have the symbol.
        start, end
            [start, end) of the books' times. Reading begins at the snapshot before.
        depth
            Levels a side; None means all.
        every
            A row for each multiple of it since the epoch, such as ``1s``; None gives one for every change.
        """
        if depth is not None and depth < 1:
            raise ConfigError(f"depth {depth}: a book has at least one level a side")
        choice = Choice.of(exchange, symbol, start, end)
        table = self._layout.table("l2")
        market = one_market(self._layout, table, Choice(exchange, symbol, None, choice.end))
        stream = Stream("l2", market.source, from_snapshot(market.partitions, choice.start))
        ledger = ledger_of(self._layout, market)
        return Books(
            market.exchange,
            market.symbol,
            lambda: cast(Iterator[BookDelta], stream.events()),
            lambda: (cast(Gap, event) for entries in ledger for event in entries.events()),
            start=choice.start,
            end=choice.end,
            depth=depth,
            every=None if every is None else span_ns(every),
        )

    def replay(
        self,
        symbols: str | Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        start: Instant = None,
        end: Instant = None,
        *,
        exchange: str | None = None,
        speed: float | None = None,
    ) -> Replay:
        """Return the recorded Events in arrival order across channels and markets. See `Replay` for ties and memory.

        Parameters
        ----------
        symbols
            One or several; None means all.
        channels
            Of bronze; None means all but `frames`.
        start, end
            [start, end) of the receive clock.
        speed
            None is as fast as it can be read, 1.0 as it came.
        """
        if speed is not None and not speed > 0:
            raise ConfigError(f"speed {speed}: it is more than 0, or None for as fast as possible")
        choice = Choice.of(exchange, None, start, end)
        names = [symbols] if isinstance(symbols, str) else symbols
        tables = {name: table for name, table in self._layout.tables().items() if table.layer == "bronze"}
        wanted = [name for name in ORDER if name in tables and name != "frames"] if channels is None else channels
        found = [table for name in wanted if (table := self._channel(name, tables)) is not None]
        streams = [stream for table in found for stream in streams_of(table, names, choice)]
        if not any(names is None or s.symbol != "ALL" for s in streams):
            first = next((table for table in found if table.name != "gaps"), None) or self._layout.table("trades")
            missing = Choice(exchange, names[0] if names else None, choice.start, choice.end)
            raise nothing_matches(self._layout, first, missing)
        return Replay(streams, choice.start, choice.end, speed)

    def align(
        self, picks: Mapping[str, Pick], start: Instant, end: Instant, every: Span, *, max_age: Span = "1h"
    ) -> pl.LazyFrame:
        """Return several tables and symbols on one grid of time, each as it was known then.

        A row stands at every multiple of `every` in [start, end), column `ts`, int64 ns. Each pick gives the newest
        row known at `ts` (bars from their end on, features and bronze from when they were received on), or null when
        that is older than `max_age`.

        Parameters
        ----------
        picks
            By the prefix of their columns: ``{"btc": Pick("bars_60s", "BTC-USD", ["close"])}`` gives ``btc_close``.
        """
        choice = Choice.of(None, None, start, end)
        if choice.start is None or choice.end is None:
            raise ConfigError("align needs a start and an end: they bound the grid")
        return aligning.align(picks, self._around, choice.start, choice.end, span_ns(every), span_ns(max_age))

    def quality(
        self,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start: Instant = None,
        end: Instant = None,
        save: bool = False,
    ) -> Quality:
        """Return how far the recorded rows can be trusted, by exchange, symbol, channel and hour. See `report.measure`.

        Parameters
        ----------
        save
            Keep the hours as table `quality`: the one call that writes.
        """
        return measure(self._layout, Choice.of(exchange, symbol, start, end), save=save)

    def export(
        self,
        format: str,
        output: str | Path,
        *,
        table: str = "trades",
        exchange: str | None = None,
        symbol: str | None = None,
        start: Instant = None,
        end: Instant = None,
        pair: str | None = None,
    ) -> int | None:
        """Write rows as a file of another program, when it is whole; return how many, where that is counted.

        Parameters
        ----------
        format
            ``hftbacktest`` and ``nautilus``: `l2` and trades of one market. ``csv`` and ``arrow``: a table.
        output
            The file; of ``nautilus`` the catalog's folder.
        pair
            Of ``nautilus``: BASE/QUOTE, where the symbol does not tell.

        Raises
        ------
        ConfigError
            If there is no such format, or nothing matches.
        StorageError
            If the disk refuses.
        """
        chosen, path = formats.find(format), Path(output)
        choice = Choice.of(exchange, symbol, start, end)
        if (write := chosen.table) is not None:
            found = self._layout.table(table)
            with formats.whole_file(path) as temp:

                def look() -> None:
                    files = lazy_frames(*self._files(found, choice))
                    write([cut(rows, found.time, choice.start, choice.end) for rows in files], temp)

                looked_again(look, FileNotFoundError, NotFoundError, CorruptError)
            return None
        assert chosen.market is not None
        market = chosen_market(self._layout, choice, pair)
        if chosen.is_folder:
            return chosen.market(market, path)
        with formats.whole_file(path) as temp:
            return chosen.market(market, temp)

    @property
    def url(self) -> str:
        """Return where the lake lies."""
        return self._layout.base.url

    def __repr__(self) -> str:
        """Return the tables with their markets and ranges."""
        return summary.text(self.url, self.catalog())

    def _repr_html_(self) -> str:
        return summary.table_html(self.url, self.catalog())

    def _rows(self, table: Table, choice: Choice) -> pl.LazyFrame:
        return looked_again(lambda: lazy_frame(*self._files(table, choice)), NotFoundError, CorruptError)

    def _files(self, table: Table, choice: Choice) -> tuple[list[Place], str | None]:
        """Return the files of a choice, and of which channel they are, if of one."""
        segments = [place for place, _ in segments_of(self._layout, table, choice)]
        return segments, table.name if table.layer == "bronze" else None

    def _around(self, pick: Pick, since: int, until: int) -> tuple[Table, pl.LazyFrame]:
        """Return the table of a pick and its rows that may be known in a range."""
        table = self._layout.table(pick.table)
        early = since - (aligning.BAR_NS_MAX if table.layer == "gold" else 0)
        choice = Choice(pick.exchange, pick.symbol, max(early, 0), until)
        one_market(self._layout, table, choice)
        rows = cut(self._rows(table, choice), table.time, choice.start, choice.end)
        chosen_columns(rows, pick.columns, table.name)
        return table, rows

    def _channel(self, name: str, tables: Mapping[str, Table]) -> Table | None:
        """Return a channel's table; None for a ledger without entries, which has none."""
        if name not in ORDER:
            raise ConfigError(f"{name!r} is no channel of events: {', '.join(ORDER)}")
        if name == "gaps" and name not in tables:
            return None
        return tables[name] if name in tables else self._layout.table(name)


def open_lake(
    base: str | Path | Storage,
    *,
    processed: str | Path | Storage | None = None,
    source: str | None = None,
    tier_raw: str = "raw",
    tier_features: str = "silver",
    tier_aggregates: str = "gold",
    **options: Any,
) -> Lake:
    """Open a lake to read it.

    Parameters
    ----------
    base
        Its directory, or where it is in an object store: ``s3://BUCKET/PREFIX`` (``gs://``, ``az://``).
    processed
        Where silver and gold are, if elsewhere.
    source
        Only what this source recorded, such as ``coinbase``; None means all.
    tier_raw, tier_features, tier_aggregates
        Names of the layers' folders, as in the settings ``storage.paths``.
    options
        Of the object store, such as `endpoint_url` or `access_key_id` (`storage.clouds`); by default the environment's
        (``AWS_ACCESS_KEY_ID`` ...).

    Raises
    ------
    NotFoundError
        If the directory does not exist.
    ConfigError
        If the address is of another kind.

    Examples
    --------
    >>> lake = open_lake("data")  # doctest: +SKIP
    >>> lake.scan("trades", symbol="BTC/USD", start="2025-06-19").collect()  # doctest: +SKIP
    """
    store = _store(base, options)
    if isinstance(store, LocalStorage) and not store.base_dir.is_dir():
        raise NotFoundError(f"there is no directory {store.base_dir}")
    made = store if processed is None else _store(processed, options)
    return Lake(Layout(store, made, source, tier_raw, tier_features, tier_aggregates))


def _store(place: str | Path | Storage, options: Mapping[str, Any]) -> Storage:
    if not isinstance(place, str | Path):
        return place
    backend, named = address(str(place))
    if backend != "local":
        return make_storage(backend, {**named, **options})
    if options:
        raise ConfigError(f"{place} is a directory: {', '.join(options)} are for object stores")
    return as_storage(named["base_dir"])
