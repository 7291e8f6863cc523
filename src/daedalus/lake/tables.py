"""The tables of a lake: which there are, where their files lie, and by which column a row is placed in time.

A table has one name everywhere, here and in SQL: a bronze channel its own (``trades``), silver ``trades_features``,
gold ``bars_60s`` or ``bars_volume_12_5``.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from daedalus.shared.errors import ConfigError, NotFoundError
from daedalus.shared.schemas import CHANNELS
from daedalus.shared.segment import RAW_TIER
from daedalus.storage.base import Place, Storage

Layer = Literal["bronze", "silver", "gold"]
_LAYERS: tuple[Layer, ...] = ("bronze", "silver", "gold")
_READY, _PROCESSED, _BARS = "ready", "processed", "bars"
QUALITY = "quality"
"""The table of what `daedalus quality` found, by hour."""


@dataclass(frozen=True)
class Table:
    """One table.

    Parameters
    ----------
    name, layer
        What it is called, and how far it was processed.
    roots
        (source, folder of the partitions), for every source that has it.
    """

    name: str
    layer: Layer
    roots: tuple[tuple[str, Place], ...]

    @property
    def time(self) -> str:
        """Return the column by which rows are cut, int64 ns: the receive clock, of bars and hours their start."""
        if self.name == QUALITY:
            return "hour_start"
        return "bar_start" if self.layer == "gold" else "collected_at"


@dataclass(frozen=True)
class Layout:
    """Where a lake's layers lie.

    Parameters
    ----------
    base, processed
        The store that holds bronze, and the one that holds silver and gold.
    source
        Only this source; None means all.
    tier_raw, tier_features, tier_aggregates
        Names of the folders, as in the settings ``storage.paths``.
    """

    base: Storage
    processed: Storage
    source: str | None = None
    tier_raw: str = RAW_TIER
    tier_features: str = "silver"
    tier_aggregates: str = "gold"

    def tables(self) -> dict[str, Table]:
        """Return the tables that there are, by name: bronze, then silver, then gold."""
        roots: dict[tuple[Layer, str], list[tuple[str, Place]]] = {}
        for layer, name, source, place in self._roots():
            roots.setdefault((layer, name), []).append((source, place))
        ordered = sorted(roots, key=lambda key: (_LAYERS.index(key[0]), _sort_key(key[1])))
        return {name: Table(name, layer, tuple(sorted(roots[layer, name], key=_source_of))) for layer, name in ordered}

    def table(self, name: str) -> Table:
        """Return a table by its name.

        Raises
        ------
        ConfigError
            If there is none of that name; it says which there are.
        NotFoundError
            If the lake is empty.
        """
        tables = self.tables()
        wanted = identifier(name)
        if wanted in tables:
            return tables[wanted]
        if not tables:
            raise NotFoundError(f"nothing is recorded under {self.base.url}: is it the lake's folder, above raw/?")
        close = difflib.get_close_matches(wanted, tables, n=1)
        hint = f": did you mean {close[0]}?" if close else "."
        raise ConfigError(f"{self.base.url} has no table {name!r}{hint} There are {', '.join(tables)}")

    def _roots(self) -> Iterator[tuple[Layer, str, str, Place]]:
        """Yield (layer, table, source, folder)."""
        ready = Place(self.base) / self.tier_raw / _READY
        for source in self._sources(ready):
            for channel in (ready / source).folders():
                if channel in CHANNELS:
                    yield "bronze", channel, source, ready / source / channel
        processed = Place(self.processed) / _PROCESSED
        for source in self._sources(processed):
            for channel in (processed / source).folders():
                yield from self._made(source, channel, processed / source / channel)

    def _made(self, source: str, channel: str, place: Place) -> Iterator[tuple[Layer, str, str, Place]]:
        tiers = place.folders()
        if channel == _BARS and self.tier_aggregates in tiers:
            gold = place / self.tier_aggregates
            for folder in gold.folders():
                if (name := _bars_name(folder)) is not None:
                    yield "gold", name, source, gold / folder
        elif channel == QUALITY and self.tier_aggregates in tiers:
            yield "gold", QUALITY, source, place / self.tier_aggregates
        elif self.tier_features in tiers:
            yield "silver", f"{identifier(channel)}_features", source, place / self.tier_features

    def _sources(self, place: Place) -> list[str]:
        return [name for name in place.folders() if self.source in (None, name)]


def quality_root(layout: Layout, source: str) -> Place:
    """Return where table `quality` of a source lies."""
    return Place(layout.processed) / _PROCESSED / source / QUALITY / layout.tier_aggregates


def identifier(name: str) -> str:
    """Return a name as it stands in SQL.

    Examples
    --------
    >>> identifier("bars_volume-12.5")
    'bars_volume_12_5'
    """
    return re.sub(r"\W", "_", name).lower()


def _bars_name(folder: str) -> str | None:
    """Return the table of a folder of bars, None for another folder.

    Examples
    --------
    >>> _bars_name("duration=60"), _bars_name("bar=volume-12.5"), _bars_name("notes")
    ('bars_60s', 'bars_volume_12_5', None)
    """
    key, _, value = folder.partition("=")
    if key == "duration":
        return f"{_BARS}_{identifier(value)}s"
    return f"{_BARS}_{identifier(value)}" if key == "bar" else None


def _sort_key(name: str) -> tuple[int, int, str]:
    """Order channels as they are declared, bars by their width, the rest by name."""
    channels = [*CHANNELS, *(f"{channel}_features" for channel in CHANNELS)]
    width = re.fullmatch(r"bars_(\d+)s", name)
    if name in channels:
        return 0, channels.index(name), name
    return (1, int(width[1]), name) if width else (2, 0, name)


def _source_of(root: tuple[str, Place]) -> str:
    return root[0]
