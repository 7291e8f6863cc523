"""Tardis' downloadable CSV data sets, one data type a file, plain or gzip.

Layouts (https://docs.tardis.dev/downloadable-csv-files): `incremental_book_L2`, `trades`, `quotes` and
`book_snapshot_N`; the header tells which. All begin with exchange, symbol, timestamp, local_timestamp, the latter two
in microseconds. Where the exchange sent no time, `timestamp` repeats `local_timestamp`: it is then taken for not sent.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

from daedalus.recordings.base import Change, Level, Message, Unreadable
from daedalus.recordings.lines import TEXT_MAX, numbered_lines
from daedalus.shared.clock import NS_PER_US
from daedalus.shared.errors import CorruptError
from daedalus.shared.events import BookSide, Side

_HEAD = ("exchange", "symbol", "timestamp", "local_timestamp")
_SIDES: MappingProxyType[str, BookSide] = MappingProxyType({"bid": "bid", "ask": "ask"})
_TAKERS: MappingProxyType[str, Side | None] = MappingProxyType({"buy": "buy", "sell": "sell", "unknown": None})
_FLAGS = MappingProxyType({"true": True, "false": False})
_TOP = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount)")

Cells = list[str]


class TardisMessage(Message, frozen=True, gc=False, kw_only=True):
    """What every row carries. `time_us` is the exchange's time, None if it sent none."""

    exchange: str
    product: str
    time_us: int | None = None


class TardisLevels(TardisMessage, frozen=True, gc=False, kw_only=True):
    """Rows of one message of `incremental_book_L2`: absolute sizes.

    `is_snapshot`: they begin or continue a whole book; it begins where the rows before were no snapshot.
    """

    is_snapshot: bool
    changes: tuple[Change, ...]


class TardisTrade(TardisMessage, frozen=True, gc=False, kw_only=True):
    """A row of `trades`. `side` is the aggressor's, None if unknown; `trade_id` is None if the exchange gives none."""

    trade_id: str | None
    side: Side | None
    price: str
    amount: str


class TardisQuote(TardisMessage, frozen=True, gc=False, kw_only=True):
    """A row of `quotes`; what is empty is None."""

    bid: str | None
    bid_amount: str | None
    ask: str | None
    ask_amount: str | None


class TardisTop(TardisMessage, frozen=True, gc=False, kw_only=True):
    """A row of `book_snapshot_N`: the best levels, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


def read_tardis_csv(path: Path) -> Iterator[Message]:
    """Yield the messages of a file (see `recordings.base.Reader`): one a row, but for changes that came together.

    A row that cannot be read becomes `Unreadable`; its neighbours are not touched.

    Raises
    ------
    NotFoundError
        There is no such file.
    CorruptError
        The file is not of a known layout, or breaks off.
    """
    lines = numbered_lines(path, "a CSV of Tardis")
    columns = next(lines, (0, ""))[1].split(",")
    builder = _builder(columns)
    if tuple(columns[:4]) != _HEAD or builder is None:
        known = "incremental_book_L2, trades, quotes or book_snapshot_N"
        raise CorruptError(f"{path}: its first line is not the header of {known}")
    rows = _rows(lines, len(columns))
    yield from _levels(rows) if builder is _level else _each(rows, builder)


def _rows(lines: Iterator[tuple[int, str]], width: int) -> Iterator[tuple[int, Cells | Unreadable]]:
    for number, text in lines:
        line, cells = number - 1, text.split(",")
        if len(cells) == width and _is_text(text):
            yield line, cells
        else:
            reason = f"{len(cells)} cells where the header has {width}" if len(cells) != width else "not text"
            yield line, Unreadable(line=line, reason=reason, text=text[:TEXT_MAX])


def _is_text(text: str) -> bool:
    """Whether a line was text: bytes that were none stand as lone surrogates (see `lines`)."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _each(rows: Iterator[tuple[int, Cells | Unreadable]], build: Callable[[int, Cells], Message]) -> Iterator[Message]:
    for line, cells in rows:
        yield cells if isinstance(cells, Unreadable) else _tried(build, line, cells)


def _tried(build: Callable[[int, Cells], Message], line: int, cells: Cells) -> Message:
    try:
        return build(line, cells)
    except (ValueError, KeyError) as error:
        return Unreadable(line=line, reason=f"{error!r}"[:TEXT_MAX], text=",".join(cells)[:TEXT_MAX])


def _levels(rows: Iterator[tuple[int, Cells | Unreadable]]) -> Iterator[Message]:
    """Gather the rows that one message brought: same symbol, times and kind."""
    held: TardisLevels | None = None
    key: Cells = []
    changes: list[Change] = []
    for line, cells in rows:
        if isinstance(cells, Unreadable):
            yield cells
            continue
        if cells[:5] == key:
            try:
                changes.append(_change(cells))
            except (ValueError, KeyError) as error:
                yield Unreadable(line=line, reason=f"{error!r}"[:TEXT_MAX], text=",".join(cells)[:TEXT_MAX])
            continue
        made = _tried(_level, line, cells)
        if isinstance(made, Unreadable):
            yield made
            continue
        if held is not None:
            yield _with(held, changes)
        assert isinstance(made, TardisLevels)
        held, key, changes = made, cells[:5], list(made.changes)
    if held is not None:
        yield _with(held, changes)


def _with(levels: TardisLevels, changes: list[Change]) -> TardisLevels:
    return TardisLevels(
        line=levels.line,
        received_ns=levels.received_ns,
        exchange=levels.exchange,
        product=levels.product,
        time_us=levels.time_us,
        is_snapshot=levels.is_snapshot,
        changes=tuple(changes),
    )


# Builders: one a layout


def _times(cells: Cells) -> tuple[int, int | None]:
    """Return the receive clock in ns and the exchange's time in us."""
    local = int(cells[3])
    if not 0 < local < 1 << 53:
        raise ValueError(f"local_timestamp {cells[3]!r}")
    at = int(cells[2])
    return local * NS_PER_US, at if 0 < at < 1 << 53 and at != local else None


def _number(text: str) -> str:
    if not 0.0 <= float(text) < math.inf:
        raise ValueError(f"{text!r} is no price or size")
    return text


def _change(cells: Cells) -> Change:
    return _SIDES[cells[5]], _number(cells[6]), _number(cells[7])


def _level(line: int, cells: Cells) -> Message:
    received_ns, time_us = _times(cells)
    return TardisLevels(
        line=line,
        received_ns=received_ns,
        exchange=cells[0],
        product=cells[1],
        time_us=time_us,
        is_snapshot=_FLAGS[cells[4].lower()],
        changes=(_change(cells),),
    )


def _trade(line: int, cells: Cells) -> Message:
    received_ns, time_us = _times(cells)
    return TardisTrade(
        line=line,
        received_ns=received_ns,
        exchange=cells[0],
        product=cells[1],
        time_us=time_us,
        trade_id=cells[4] or None,
        side=_TAKERS[cells[5]],
        price=_number(cells[6]),
        amount=_number(cells[7]),
    )


def _quote(line: int, cells: Cells) -> Message:
    received_ns, time_us = _times(cells)
    ask_amount, ask, bid, bid_amount = (_number(cell) if cell else None for cell in cells[4:8])
    return TardisQuote(
        line=line,
        received_ns=received_ns,
        exchange=cells[0],
        product=cells[1],
        time_us=time_us,
        bid=bid,
        bid_amount=bid_amount,
        ask=ask,
        ask_amount=ask_amount,
    )


_BUILDERS: MappingProxyType[Sequence[str], Callable[[int, Cells], Message]] = MappingProxyType(
    {
        ("is_snapshot", "side", "price", "amount"): _level,
        ("id", "side", "price", "amount"): _trade,
        ("ask_amount", "ask_price", "bid_price", "bid_amount"): _quote,
    }
)


def _builder(columns: Sequence[str]) -> Callable[[int, Cells], Message] | None:
    known = _BUILDERS.get(tuple(columns[4:]))
    return known or _top_builder(columns)


def _top_builder(columns: Sequence[str]) -> Callable[[int, Cells], Message] | None:
    """Return the builder of `book_snapshot_N`, whose columns are named ``asks[0].price`` and so on."""
    places: dict[tuple[str, int], dict[str, int]] = {}
    for index, name in enumerate(columns[4:], start=4):
        match = _TOP.fullmatch(name)
        if match is None:
            return None
        places.setdefault((match[1], int(match[2])), {})[match[3]] = index
    if not places or any(len(pair) != 2 for pair in places.values()):
        return None
    sides = {
        side: [(pair["price"], pair["amount"]) for (name, _), pair in sorted(places.items()) if name == side]
        for side in ("bids", "asks")
    }

    def build(line: int, cells: Cells) -> Message:
        received_ns, time_us = _times(cells)
        bids, asks = (
            tuple((_number(cells[p]), _number(cells[a])) for p, a in sides[side] if cells[p])
            for side in ("bids", "asks")
        )
        return TardisTop(
            line=line,
            received_ns=received_ns,
            exchange=cells[0],
            product=cells[1],
            time_us=time_us,
            bids=bids,
            asks=asks,
        )

    return build
