"""Finding the partitions of a layer: only directories that the filter allows are listed, no file is opened."""

import datetime as dt
import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from daedalus.etl.core.config import FilterSpec
from daedalus.shared.errors import ConfigError, NotFoundError, SchemaError
from daedalus.shared.partitioning import parse_partition_path

Values = Mapping[str, str | int]
_EVER = (dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC))
_SHOWN_MAX = 12


@dataclass(frozen=True, order=True)
class Partition:
    """A directory of one market over [start, end), UTC: an hour, or a day or more where the layout is coarser."""

    exchange: str
    symbol: str
    start: dt.datetime
    end: dt.datetime
    path: Path

    def segments(self) -> list[Path]:
        """Return its files in the order of their names, which is that of time. Unfinished files are not among them."""
        with os.scandir(self.path) as entries:
            names = [e.name for e in entries if e.name.endswith(".parquet") and e.name[0] not in "._"]
        return [self.path / name for name in sorted(names)]


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


def _children(path: Path) -> list[tuple[str, Path]]:
    """Return the hive directories in a directory, sorted; what is none of ours is passed over."""
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        return sorted((e.name, Path(e.path)) for e in entries if "=" in e.name and e.is_dir())


def _walk(path: Path, values: dict[str, str | int], chosen: FilterSpec) -> Iterator[Partition]:
    children = _children(path)
    if not children and {"exchange", "symbol"} <= values.keys():
        yield Partition(str(values["exchange"]), str(values["symbol"]), *time_span(values), path)
    for name, child in children:
        known = {**values, **parse_partition_path(name)}
        exchange, symbol = (str(known[key]) if key in known else None for key in ("exchange", "symbol"))
        if chosen.selects_market(exchange, symbol) and chosen.selects_time(*time_span(known)):
            yield from _walk(child, known, chosen)


def find_partitions(root: Path, chosen: FilterSpec) -> list[Partition]:
    """Return the partitions under a layer's root that the filter selects, by market and time.

    Any layout of `partitioning.PARTITION_COLUMNS` is understood. A missing root holds nothing.

    Raises
    ------
    SchemaError
        If a directory names a time that does not exist.
    """
    return sorted(_walk(root, {}, chosen))


def nothing_found(root: Path, chosen: FilterSpec) -> Exception:
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


def _markets(path: Path, values: dict[str, str | int]) -> list[tuple[str, str, Path]]:
    """Return (exchange, symbol, directory) of every market, by listing no deeper than their directories."""
    found = []
    for name, child in _children(path):
        known = {**values, **parse_partition_path(name)}
        if {"exchange", "symbol"} <= known.keys():
            found.append((str(known["exchange"]), str(known["symbol"]), child))
        else:
            found += _markets(child, known)
    return found


def _range(path: Path) -> str:
    """Return the first and last time under a market's directory, walking down one side of the tree each."""
    ends = []
    for side in (0, -1):
        at, values = path, dict(parse_partition_path(str(path)))
        while children := _children(at):
            name, at = children[side]
            values |= parse_partition_path(name)
        ends.append(time_span(values)[side])
    return f"{ends[0]:%Y-%m-%dT%H:%M} to {ends[1]:%Y-%m-%dT%H:%M}"
