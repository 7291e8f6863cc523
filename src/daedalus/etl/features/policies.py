"""What a configuration may ask beyond the catalogue's defaults, around the fold of a chunk.

- `crossed_policy` "null" (B5): a crossed or locked book gives a row of nulls with its flags, and is absent from every
  state; the next row differs from the last good one. A reset that it was marked with goes to the next good row.
- `require_full_window` (W5): a column over a time window is null until the stream is as old as the window.
- `reset_windows_on_gap` (S3): a book row that is a reset finds all windows over rows and trades empty.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from daedalus.etl.features.base import I64, INT, NULL_INT, NULL_INT8, Family, Field, Flags, Frame, Outputs, record
from daedalus.etl.features.chunks import NO_TRADES, BookChunk, TradeChunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.state import State, new_arrays
from daedalus.etl.features.stream import ordered
from daedalus.etl.features.tickers import NO_TICKERS, TickerChunk

if TYPE_CHECKING:
    from daedalus.etl.features.engine import FeatureSet

FIELDS: tuple[Field, ...] = (record("policy", owed=INT, begun=INT, first_ts=INT),)
#: Columns that end in the length of a time window; bars and the share of the window that is covered are not such.
_WINDOWED = re.compile(r"(?!window_coverage_|kyle_|cs_spread_|ar_spread_).*_(\d+)s")
_OVER_ROWS = ("spread_regime", "lee_mykland")
#: The keys of the configuration that this module is about.
OPTIONS = ("crossed_policy", "require_full_window", "reset_windows_on_gap")


def is_plain(config: FeatureConfig) -> bool:
    """Return whether nothing is asked beyond the defaults."""
    return config.crossed_policy == "flag" and not config.require_full_window and not config.reset_windows_on_gap


def window_seconds(column: str) -> int | None:
    """Return the length of the time window that a column is over, None for another column.

    Examples
    --------
    >>> window_seconds("rv_60s"), window_seconds("tfi_ew_hl60s"), window_seconds("kyle_lambda_60s")
    (60, None, None)
    """
    found = _WINDOWED.fullmatch(column)
    return None if found is None else int(found[1])


def has_windows(family: Family) -> bool:
    """Return whether `reset_windows_on_gap` empties a family."""
    return family.name in _OVER_ROWS or any(window_seconds(column.name) is not None for column in family.columns)


def without_crossed(book: BookChunk, state: State, config: FeatureConfig) -> tuple[BookChunk, I64]:
    """Return the books that may enter the state, and the positions of the others."""
    policy = state.arrays["policies"]["policy"][0]
    crossed = book.bid_price[:, 0] >= book.ask_price[:, 0]
    if config.crossed_policy == "flag" or not (crossed.any() or policy["owed"]):
        return book, np.empty(0, np.int64)
    good = np.flatnonzero(~crossed)
    owed = _owed_before(book.reset, good, bool(policy["owed"]))
    policy["owed"] = owed[-1]
    parts = {name: getattr(book, name)[good] for name in book.__dataclass_fields__}
    return BookChunk(**{**parts, "reset": parts["reset"] | owed[:-1]}), np.flatnonzero(crossed)


def _owed_before(reset: Flags, good: I64, owed: bool) -> Flags:
    """Return for every good row, and for what comes after the last, whether a row left out before it was a reset."""
    marks = np.concatenate([[owed], np.cumsum(reset) + owed])
    edges = np.concatenate([[-1], good, [len(reset)]])
    # Marks among the rows strictly between two good ones; what is owed from before counts to the first.
    between: Flags = marks[edges[1:]] - marks[edges[:-1] + 1] > 0
    between[0] |= owed
    return between


def segments(reset: Sequence[bool] | Flags) -> list[tuple[int, int]]:
    """Return the spans of rows that begin at a reset; the first may begin without.

    Examples
    --------
    >>> segments([False, True, False, True])
    [(0, 1), (1, 3), (3, 4)]
    """
    starts = sorted({0, *np.flatnonzero(reset).tolist()})
    return list(zip(starts, [*starts[1:], len(reset)], strict=True))


def apply(features: "FeatureSet", state: State, book: BookChunk, trades: TradeChunk, tickers: TickerChunk) -> Outputs:
    """Compute a chunk as `FeatureSet.apply` does, under the options of this module."""
    good, crossed = without_crossed(book, state, features.config)
    newest = int(state.arrays["stream"]["last"][0]["ts"])
    spans = _spans(features, state, good)
    parts, times = [], []
    for start, stop in spans:
        if start < stop and features.config.reset_windows_on_gap and features.table == "orderbook":
            _clear_windows_before(features, state, good.rows(start, stop))
        frame, outputs = features.fold(state, good.rows(start, stop), trades, tickers)
        trades, tickers = NO_TRADES, NO_TICKERS
        parts.append(outputs)
        times.append(frame.ts)
    outputs = joined(parts, [start for start, _ in spans]) if len(parts) > 1 else parts[0]
    if features.table != "orderbook" or len(book) == len(good):
        return outputs
    positions = np.flatnonzero(~np.isin(np.arange(len(book)), crossed))
    outputs.kept = positions[outputs.kept]
    return with_crossed(outputs, np.concatenate(times), newest, book, crossed)


def _spans(features: "FeatureSet", state: State, book: BookChunk) -> list[tuple[int, int]]:
    """Return the parts of a chunk that are folded one by one."""
    if not features.config.reset_windows_on_gap or features.table != "orderbook":
        return [(0, len(book))]
    return segments(_resets(features, state, book))


def _resets(features: "FeatureSet", state: State, book: BookChunk) -> Flags:
    """Return which rows of a chunk would be resets, without touching the state."""
    arrays = {name: state.arrays["stream"][name].copy() for name in ("last", "numbers")}
    frame = ordered(arrays, book, features.config.staleness_ns)
    reset = np.zeros(len(book), np.bool_)
    reset[frame.kept] = frame.reset == 1
    return reset


def _clear_windows_before(features: "FeatureSet", state: State, book: BookChunk) -> None:
    """Empty the windows if the first row of a chunk is a reset."""
    if not _resets(features, state, book.rows(0, 1))[0]:
        return
    state.arrays["policies"]["policy"][0]["begun"] = 0
    for family in features.families:
        if has_windows(family):
            state.arrays[family.name] = new_arrays(family.fields)


def blank_partial_windows(frame: Frame, state: State, features: "FeatureSet") -> None:
    """Make the columns of windows that reach back before the stream's first row null, where that is asked for."""
    if frame.rows == 0 or not features.config.require_full_window:
        return
    policy = state.arrays["policies"]["policy"][0]
    if policy["begun"] == 0:
        policy["begun"], policy["first_ts"] = 1, frame.ts[0]
    age = frame.ts - policy["first_ts"]
    for column in (column for family in features.families for column in family.columns):
        seconds = window_seconds(column.name)
        if seconds is not None:
            values = frame.outputs[column.name]
            values[age < seconds * 1_000_000_000] = {"float64": np.nan, "int64": NULL_INT, "int8": NULL_INT8}[
                column.dtype
            ]


def joined(parts: Sequence[Outputs], starts: Sequence[int]) -> Outputs:
    """Return the outputs of neighbouring chunks as those of one; `starts` are the positions of their first rows."""
    whole = Outputs(parts[0].plan, np.concatenate([p.kept + start for p, start in zip(parts, starts, strict=True)]))
    at = 0
    for part in parts:
        for own, values in ((part.f64, whole.f64), (part.i64, whole.i64), (part.i8, whole.i8)):
            values[:, at : at + part.rows] = own[:, : part.rows]
        at += part.rows
    return whole


def with_crossed(outputs: Outputs, frame_ts: I64, newest: int, book: BookChunk, crossed: I64) -> Outputs:
    """Put the rows of the books that were left out between the others: nulls, but for what says so.

    Parameters
    ----------
    frame_ts
        int64[rows], ts_eff of the other rows.
    newest
        ts_eff of the row before the chunk.
    """
    kept = np.sort(np.concatenate([outputs.kept, crossed]))
    wider = Outputs(outputs.plan, kept)
    own, left_out = np.searchsorted(kept, outputs.kept), np.searchsorted(kept, crossed)
    for part, values, null in (
        (outputs.f64, wider.f64, np.nan),
        (outputs.i64, wider.i64, NULL_INT),
        (outputs.i8, wider.i8, NULL_INT8),
    ):
        values[:] = null
        values[:, own] = part[:, : outputs.rows]
    before = np.concatenate([[newest], frame_ts])[np.searchsorted(outputs.kept, crossed)]
    bid, ask, ts = book.bid_price[crossed, 0], book.ask_price[crossed, 0], book.ts[crossed]
    marks = {
        "ts": np.maximum(ts, before),
        "seq": book.seq[crossed],
        "is_late": ts < before,
        "is_crossed": bid > ask,
        "is_locked": bid == ask,
        "is_one_sided": 0,
        "is_empty": 0,
        "is_reset": 0,
    }
    for name, values in marks.items():
        if name in wider.plan.rows_of:
            wider[name][left_out] = values
    return wider
