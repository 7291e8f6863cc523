"""hftbacktest's events: one ``.npz`` with array ``data``, ordered for its exchange and for its local processor.

Layout and rules: https://hftbacktest.readthedocs.io/en/latest/data.html. Memory: one piece of rows, and what arrived
within the longest delay, at most a minute of events.
"""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from daedalus.lake.export.market import Market, Piece, exchange_ns
from daedalus.lake.export.merging import by_clock
from daedalus.shared.errors import ConfigError

DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
#: An event is at most that much older than its arrival, ns: a wrong time of the exchange does not hold back the rest.
AGE_NS_MAX = 60 * 10**9
_PASS_BYTES = 1 << 20

Events = npt.NDArray[Any]


def write(market: Market, path: Path) -> int:
    """Write the file and return how many events it holds; `path` is a temporary place.

    Raises
    ------
    ConfigError
        If the market has no `l2`, or nothing of it lies in the range.
    """
    if market.book is None:
        raise ConfigError(f"hftbacktest needs l2, and of {market.exchange} {market.symbol} none is recorded")
    shift, delay = _clocks(market)
    raw = path.with_name(f"{path.name}.raw")
    try:
        with raw.open("wb") as sink:
            count = 0
            for events in _ordered(_shifted(_events(market), shift), delay):
                sink.write(events.tobytes())
                count += len(events)
        if not count:
            raise ConfigError(f"of {market.exchange} {market.symbol} no book and no trade lies in the range")
        _pack(raw, path, count)
    finally:
        raw.unlink(missing_ok=True)
    return count


def _pack(raw: Path, path: Path, count: int) -> None:
    head = {"descr": np.lib.format.dtype_to_descr(EVENT), "fortran_order": False, "shape": (count,)}
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
        packed.open("data.npy", "w", force_zip64=True) as sink,
        raw.open("rb") as source,
    ):
        np.lib.format.write_array_header_1_0(_as_file(sink), head)
        shutil.copyfileobj(source, sink, _PASS_BYTES)


def _as_file(sink: Any) -> BinaryIO:
    return sink  # type: ignore[no-any-return]


def _events(market: Market) -> Iterator[Events]:
    """Yield events in arrival order, without flags; a trade meets the book just before it."""
    trades = (_trades(table) for table in market.trade_tables())
    books = map(_of_book, market.book_pieces())
    return by_clock([trades, books], "local_ts")


def _of_book(piece: Piece) -> Events:
    return _cleared(piece) if isinstance(piece, int) else _changes(piece)


def _made(count: int, kind: Any, times: Events, ours: Events, prices: Events, sizes: Events) -> Events:
    events = np.zeros(count, EVENT)
    events["ev"], events["exch_ts"], events["local_ts"] = kind, times, ours
    events["px"], events["qty"] = prices, sizes
    return events


def _trades(table: pa.Table) -> Events:
    ours, side = table["collected_at"].to_numpy(), table["side"].to_numpy(zero_copy_only=False)
    kind = TRADE | np.where(side == "buy", BUY, np.where(side == "sell", SELL, 0))
    price, size = (table[name].to_numpy() for name in ("price", "amount"))
    return _made(table.num_rows, kind, exchange_ns(table), ours, price, size)


def _changes(table: pa.Table) -> Events:
    """Return the rows of `l2`; each snapshot stands after two events that clear the sides."""
    ours, whole = table["collected_at"].to_numpy(), table["is_snapshot"].to_numpy()
    side = np.where(table["side"].to_numpy(zero_copy_only=False) == "bid", BUY, SELL)
    price, size = (table[name].to_numpy() for name in ("price", "size"))
    # The time of a snapshot is that of its levels, or none: what counts is when it was received.
    times = np.where(whole, ours, exchange_ns(table))
    events = _made(table.num_rows, side | np.where(whole, SNAPSHOT, DEPTH), times, ours, price, size)
    heads = np.flatnonzero(whole & np.append(True, ~whole[:-1] | (ours[1:] != ours[:-1])))
    clears = [clear for head in heads for clear in _cleared(int(ours[head]))]
    return np.insert(events, np.repeat(heads, 2), np.array(clears, EVENT)) if clears else events


def _cleared(at: int) -> Events:
    """Return the two events that clear the book: without a price that is finite, a side is cleared whole."""
    both = np.full(2, at)
    prices = np.array([-np.inf, np.inf])
    return _made(2, np.array([CLEAR | BUY, CLEAR | SELL]), both, both, prices, np.zeros(2))


def _clocks(market: Market) -> tuple[int, int]:
    """Return how far to put our clock forward for nothing to arrive before it happens, and the longest delay."""
    least, most = 0, 0
    for events in _events(market):
        delays = events["local_ts"] - events["exch_ts"]
        least, most = min(least, int(delays.min())), max(most, int(delays.max()))
    return -least, min(most - least, AGE_NS_MAX)


def _shifted(pieces: Iterator[Events], shift: int) -> Iterator[Events]:
    """Put our clock forward, and no change of a book before the snapshot that it came after."""
    floor = np.iinfo(np.int64).min
    for events in pieces:
        kind = events["ev"] & np.uint64(0xFF)
        is_made = (kind == CLEAR) | (kind == SNAPSHOT)
        events["local_ts"] += shift
        times = np.where(is_made, events["local_ts"], np.maximum(events["exch_ts"], events["local_ts"] - AGE_NS_MAX))
        floors = np.maximum.accumulate(np.append(floor, np.where(is_made, times, floor)))[1:]
        events["exch_ts"] = np.where(kind == DEPTH, np.maximum(times, floors), times)
        floor = floors[-1]
        yield events


def _ordered(pieces: Iterator[Events], delay: int) -> Iterator[Events]:
    """Yield events so that both processors find theirs in order.

    An event that an earlier one has overtaken at the exchange stands twice: where it happened, for the exchange's
    processor, and where it arrived, for the local one. All others stand once, for both.

    Parameters
    ----------
    delay
        No event arrives later than that after it happened, ns.
    """
    held, keys, peak = np.zeros(0, EVENT), np.zeros(0, np.int64), np.iinfo(np.int64).min
    for events in pieces:
        peaks = np.maximum.accumulate(np.append(peak, events["exch_ts"]))[1:]
        peak = peaks[-1]
        late = events["exch_ts"] < peaks
        first, again = events.copy(), events[late]
        first["ev"] |= np.where(late, LOCAL, LOCAL | EXCHANGE).astype(np.uint64)
        again["ev"] |= np.uint64(EXCHANGE)
        held = np.concatenate([held, first, again])
        keys = np.concatenate([keys, peaks, events["exch_ts"][late]])
        order = np.argsort(keys, kind="stable")
        held, keys = held[order], keys[order]
        done = int(np.searchsorted(keys, events["local_ts"][-1] - delay, side="left"))
        if done:
            yield held[:done]
            held, keys = held[done:], keys[done:]
    if len(held):
        yield held
