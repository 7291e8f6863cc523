"""Finding the partitions of a layer: only folders that the filter allows are listed, no file is opened.

Where the filter takes all below a folder, that is one listing, which an object store answers 1,000 files at a time;
elsewhere the folders are walked, one request each.
"""

import datetime as dt
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from daedalus.shared.errors import ConfigError, CorruptError, NotFoundError, SchemaError
from daedalus.shared.filters import FilterSpec
from daedalus.shared.partitioning import parse_partition_path
from daedalus.shared.segment import FOOTER_PREFIX
from daedalus.storage.base import Place

Values = Mapping[str, str | int]
_EVER = (dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC))
_SHOWN_MAX = 12
_TABLE = ".parquet"
REPLACES = f"{FOOTER_PREFIX}replaces"


@dataclass(frozen=True, order=True)
class Partition:
    """A folder of one market over [start, end), UTC: an hour, or a day or more where the layout is coarser.

    Parameters
    ----------
    exchange, symbol, start, end
        Whose and when.
    path
        The folder.
    names, sizes
        Its Parquet files, sorted, and the bytes of each.
    """

    exchange: str
    symbol: str
    start: dt.datetime
    end: dt.datetime
    path: Place = field(compare=False)
    names: tuple[str, ...] = field(compare=False)
    sizes: tuple[int, ...] = field(compare=False)

    def segments(self) -> list[Place]:
        """Return its files in the order of their names, which is that of time. Unfinished files are not among them."""
        return [self.path / name for name in self.names]


def time_span(values: Values) -> tuple[dt.datetime, dt.datetime]:
    """Return [start, end) of the time that partition values name; all of time when they name none.

    Raises
    ------
    SchemaError
        If there is no such time.
    """
    try:
        if "date" in values:
            start, days = dt.datetime.fromisoformat(str(values["date"])).replace(tzinfo=dt.UTC), 1
        elif "year" not in values:
            return _EVER
        else:
            year, month, day = (int(values.get(name, 1)) for name in ("year", "month", "day"))
            start = dt.datetime(year, month, day, tzinfo=dt.UTC)
            following = dt.datetime(year + (month == 12), month % 12 + 1, 1, tzinfo=dt.UTC)
            if "month" not in values:
                following = dt.datetime(year + 1, 1, 1, tzinfo=dt.UTC)
            days = 1 if "day" in values else (following - start).days
        if "hour" in values:
            start = start.replace(hour=int(values["hour"]))
            return start, start + dt.timedelta(hours=1)
    except ValueError as error:
        raise SchemaError(f"no such time: {dict(values)} ({error})") from None
    return start, start + dt.timedelta(days=days)


def _children(place: Place) -> list[str]:
    """Return the names of the hive folders in a folder, sorted; what is none of ours is passed over."""
    return [name for name in place.folders() if "=" in name]


def _walk(place: Place, values: dict[str, str | int], chosen: FilterSpec) -> Iterator[Partition]:
    children = [] if _takes_all(values, chosen) else _children(place)
    if not children:
        yield from _listed(place, values)
    for name in children:
        known = {**values, **parse_partition_path(name)}
        exchange, symbol = (str(known[key]) if key in known else None for key in ("exchange", "symbol"))
        if chosen.selects_market(exchange, symbol) and chosen.selects_time(*time_span(known)):
            yield from _walk(place / name, known, chosen)


def _takes_all(values: Values, chosen: FilterSpec) -> bool:
    """Return whether the filter, which selects a folder with these values, selects all that is below it."""
    start, end = time_span(values)
    known = values.keys() | ({"year", "month", "day"} if "date" in values else set())
    names = ("exchange", "symbol", "year", "month", "day", "hour")
    if any(getattr(chosen, name) is not None and name not in known for name in names):
        return False
    return (chosen.start is None or chosen.start <= start) and (chosen.end is None or end <= chosen.end)


def _listed(place: Place, values: Values) -> Iterator[Partition]:
    """Yield the partitions below a folder, from one listing."""
    prefix = f"{place.key}/" if place.key else ""
    below = sorted((info.key.removeprefix(prefix), info.size) for info in place.storage.list(place.key))
    for folder, files in groupby(below, key=lambda file: file[0].rpartition("/")[0]):
        tables = {name: size for key, size in files if _is_table(name := key.rpartition("/")[2])}
        if not tables or not all("=" in part for part in folder.split("/") if part):
            continue
        known = {**values, **parse_partition_path(folder)}
        if {"exchange", "symbol"} <= known.keys():
            market = str(known["exchange"]), str(known["symbol"])
            tables = _standing(place / folder, tables)
            yield Partition(*market, *time_span(known), place / folder, tuple(tables), tuple(tables.values()))


def _standing(folder: Place, tables: dict[str, int]) -> dict[str, int]:
    """Leave out files that another one says it replaces: they are about to be deleted."""
    gone: set[str] = set()
    for name in tables:
        if any(other.startswith(f"{name.removesuffix(_TABLE)}-") for other in tables):
            gone |= replaced_by(folder / name)
    return {name: size for name, size in tables.items() if name not in gone}


def replaced_by(file: Place) -> frozenset[str]:
    """Return the names of the files in its folder that a Parquet file replaces, by its footer; none where it is gone.

    That is the rule by which several files are replaced in one step where a store cannot do so: the new file is put,
    and from then on those that it names do not count, deleted or not.
    """
    from daedalus.storage.segments import read_metadata

    try:
        return replaced_in(read_metadata(file, file.storage.head(file.key).size).metadata)
    except (NotFoundError, CorruptError):
        # Whoever reads it will say so.
        return frozenset()


def replaced_in(footer: Mapping[bytes, bytes] | None) -> frozenset[str]:
    """Return what `replaces` has entered in a footer."""
    return frozenset(msgspec.json.decode((footer or {}).get(REPLACES.encode(), b"[]"), type=list[str]))


def replaces(names: Iterable[str]) -> str:
    """Return what a footer says of the files that it replaces, under the key `REPLACES`."""
    return msgspec.json.encode(sorted(names)).decode()


def tables_in(folder: Place) -> dict[str, int]:
    """Return the bytes of each Parquet file that counts directly in a folder, by name, sorted."""
    below = ((info.key.removeprefix(f"{folder.key}/"), info.size) for info in folder.storage.list(folder.key))
    tables = dict(sorted((name, size) for name, size in below if "/" not in name and _is_table(name)))
    return _standing(folder, tables)


def _is_table(name: str) -> bool:
    return name.endswith(_TABLE) and name[0] not in "._"


def find_partitions(root: Place, chosen: FilterSpec) -> list[Partition]:
    """Return the partitions under a layer's root that the filter selects, by market and time.

    Any layout of `partitioning.PARTITION_COLUMNS` is understood. A missing root holds nothing.

    Raises
    ------
    SchemaError
        If a folder names a time that does not exist.
    StorageError
        If the store does not let itself be listed.
    """
    return sorted(_walk(root, {}, chosen))


def nothing_found(root: Place, chosen: FilterSpec) -> Exception:
    """Return the error for a filter that selects nothing: it says what there is."""
    # Where the date stands outside of the market, a market comes up once a day: the first stands for all.
    markets = list({market[:2]: market for market in reversed(_markets(root, {}))}.values())[::-1]
    if not markets:
        return NotFoundError(f"nothing is recorded under {root}: check --input and --source, or record something first")
    lines = [f"nothing under {root} matches {chosen.describe()}."]
    for name, position in (("exchange", 0), ("symbol", 1)):
        wanted = getattr(chosen, name)
        there = sorted({str(market[position]) for market in markets})
        if wanted is not None and wanted not in there:
            lines.append(f"  no {name} {wanted}{_nearest(wanted, there)}")
    lines.append("  there is:")
    shown = [m for m in markets if chosen.selects_market(m[0], m[1])] or markets
    lines += [f"    --exchange {m[0]} --symbol {m[1]}  {_range(m[2])}" for m in shown[:_SHOWN_MAX]]
    if len(shown) > _SHOWN_MAX:
        lines.append(f"    and {len(shown) - _SHOWN_MAX} more")
    return ConfigError("\n".join(lines))


def _nearest(wanted: str, there: list[str]) -> str:
    by_fold = {name.casefold(): name for name in there}
    close = difflib.get_close_matches(wanted.casefold(), by_fold, n=3, cutoff=0.5)
    return f": did you mean {', '.join(by_fold[name] for name in close)}?" if close else ""


def _markets(place: Place, values: dict[str, str | int]) -> list[tuple[str, str, Place]]:
    """Return (exchange, symbol, folder) of every market, by listing no deeper than their folders."""
    found = []
    for name in _children(place):
        known = {**values, **parse_partition_path(name)}
        if {"exchange", "symbol"} <= known.keys():
            found.append((str(known["exchange"]), str(known["symbol"]), place / name))
        else:
            found += _markets(place / name, known)
    return found


def _range(place: Place) -> str:
    """Return the first and last time under a market's folder, walking down one side of the tree each."""
    ends = []
    for side in (0, -1):
        at, values = place, dict(parse_partition_path(place.key))
        while children := _children(at):
            at = at / children[side]
            values |= parse_partition_path(children[side])
        ends.append(time_span(values)[side])
    return f"{ends[0]:%Y-%m-%dT%H:%M} to {ends[1]:%Y-%m-%dT%H:%M}"
