"""The contract of a feature family: outputs, one computation, and the layout of the state that it carries.

A family is a function of `FeatureConfig` that returns a `Family` (or None where the configuration switches it off),
and one line in `registry.FAMILIES`. Everything else follows from the declaration: schema, batch, live, checkpoints,
fingerprint and the tests that every family meets.

Null is NaN in float64 columns, `NULL_INT` in int64 columns and `NULL_INT8` in int8 columns, until `FeatureSet.to_arrow`
turns it into Arrow's null, once.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from daedalus.etl.features.calls import Caller, directly
from daedalus.shared.schemas import Column, DType

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
I8 = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
# An array of a dtype that a layout declares at run time.
AnyArray = npt.NDArray[Any]
Arrays = dict[str, AnyArray]
# A named record of a state, as a kernel sees it; Numba knows its fields.
Record: TypeAlias = Any

NULL_INT = -(2**63)
NULL_INT8 = -128

FLOAT = np.dtype("<f8")
INT = np.dtype("<i8")

FieldKind = Literal["fixed", "ring", "queue"]


@dataclass(frozen=True)
class Field:
    """One array of a state. All zeros means: nothing seen.

    - `fixed`: an array of `shape`.
    - `ring`: rows of `shape` between absolute positions, in a buffer whose power-of-two length grows with what the
      largest window holds; its family also has the fixed fields `head` (int64[1], the next position) and `tails`
      (int64[windows], the oldest position still inside each window). The length of the buffer never shows
      in a result nor in the serialised state. Rings of a `group` go by `{group}head` and `{group}tails` instead.
    - `queue`: rows of `shape`, as many as there are.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...] = ()
    kind: FieldKind = "fixed"
    group: str = ""


def record(name: str, **kinds: np.dtype[np.generic]) -> Field:
    """Return a state field that holds one named record: the scalars of a fold."""
    return Field(name, np.dtype(list(kinds.items())), (1,))


class Block(NamedTuple):
    """A family's own rows of the output matrices, [columns of that dtype, at least rows], C-contiguous."""

    f64: F64
    i64: I64
    i8: I8


class TradeRun(NamedTuple):
    """Trades that wait for a row or become visible in this chunk, in arrival order, with ts_eff in `ts`."""

    ts: I64
    collected_at: I64
    price: F64
    amount: F64
    side: I8


class TickerRun(NamedTuple):
    """Tickers beside book rows, as `TradeRun`; `mid` of their own bid and ask, NaN where one is missing."""

    ts: I64
    collected_at: I64
    mid: F64


class QuoteRun(NamedTuple):
    """Best quotes of book rows beside trades or tickers, as `TradeRun`; a missing side has price NaN and size 0."""

    ts: I64
    collected_at: I64
    bid: F64
    bid_size: F64
    ask: F64
    ask_size: F64


class TickerRows(NamedTuple):
    """What rows of the ticker table carry; `values` is float64[rows, tickers.FIELDS], NaN for null."""

    values: F64
    next_funding_ts: I64


@dataclass(slots=True)
class Frame:
    """What every family sees of one chunk: kept rows only, in arrival order.

    `kept` are the positions of the rows in the chunk. `ts` is ts_eff (T2); `dt_ns` is the time since the previous kept
    row, `NULL_INT` on a row with `reset` 1 (S1, S2). Levels are [rows, max_levels], C-contiguous, missing ones NaN
    price and 0 size; `bid_levels` and `ask_levels` count the valid ones. Row i may use `trades[:visible[i]]` and
    nothing later (T5). `deals` is what `trade_rows` makes of the visible trades, [columns, trades]. Of `tickers` and
    `quotes` row i may use the first `tickers_visible[i]` and `quotes_visible[i]`.

    Rows are those of the table: books, trades or tickers. Beside trades and tickers, the one level is that of the last
    book before the row with both sides (T5), not older than the staleness limit (W7). Rows of trades are `trades`
    themselves, each visible to itself; rows of tickers have `ticker`. `tickers` are there for book rows, `quotes` for
    the others. `all_ts` and `all_late` are of every row of a chunk of trades, also of those that are not valid.
    """

    rows: int
    kept: I64
    ts: I64
    dt_ns: I64
    collected_at: I64
    seq: I64
    reset: I8
    late: I8
    bid_price: F64
    bid_size: F64
    ask_price: F64
    ask_size: F64
    bid_levels: I64
    ask_levels: I64
    call: Caller = directly
    trades: TradeRun = field(init=False)
    visible: I64 = field(init=False)
    deals: F64 = field(init=False)
    tickers: TickerRun = field(init=False)
    tickers_visible: I64 = field(init=False)
    quotes: QuoteRun = field(init=False)
    quotes_visible: I64 = field(init=False)
    ticker: TickerRows = field(init=False)
    all_ts: I64 = field(init=False)
    all_late: I8 = field(init=False)
    outputs: "Outputs" = field(init=False)

    def floats(self, name: str) -> F64:
        """Return a float64 column of a family that ran before, [rows]."""
        return self.outputs.f64[self.outputs.plan.rows_of[name], : self.rows]

    def bytes(self, name: str) -> I8:
        """Return an int8 column of a family that ran before, [rows]."""
        return self.outputs.i8[self.outputs.plan.rows_of[name], : self.rows]

    def stack(self, first: str, count: int) -> F64:
        """Return `count` neighbouring float64 columns of one family, [count, at least rows]."""
        row = self.outputs.plan.rows_of[first]
        return self.outputs.f64[row : row + count]


Run = Callable[[Frame, Arrays, Block], None]


@dataclass(frozen=True)
class Family:
    """A group of features that share one pass.

    Parameters
    ----------
    name
        One word or two; part of the fingerprint and of the serialised state.
    version
        Grows whenever the same input would give another number or the state another meaning.
    columns
        Outputs: float64, int64 or int8.
    run
        The computation: fills its block and updates the arrays of its state in place, walking rows in order.
    needs
        Columns of other families that `run` reads, or names of families that leave something else in the frame; those
        run before.
    fields
        Layout of the state; empty for a stateless family.
    params
        Every value that changes an output without changing a name or the layout.
    core, standard
        Patterns of the columns that belong to those sets; `standard` has all of `core`, `full` has every column.
    replays
        Whether, while no trade is there, `run` does nothing but call kernels, by `frame.call`, on arrays of the frame,
        the state and its block: then a row by itself needs no Python at all (`native`).
    """

    name: str
    version: int
    doc: str
    columns: tuple[Column, ...]
    run: Run
    needs: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    params: Mapping[str, object] = field(default_factory=dict)
    core: tuple[str, ...] = ()
    standard: tuple[str, ...] = ()
    replays: bool = False

    def of_dtype(self, dtype: DType) -> list[Column]:
        """Return the columns of one dtype, in their order in the block."""
        return [column for column in self.columns if column.dtype == dtype]


class Plan:
    """Where each column of the families stands: its dtype's matrix and the row there; `columns` are those to show."""

    def __init__(self, families: Sequence[Family], shown: Collection[str]) -> None:
        computed = [column for family in families for column in family.columns]
        self.columns = tuple(column for column in computed if column.name in shown)
        self.dtype_of = {column.name: column.dtype for column in computed}
        self.rows_of: dict[str, int] = {}
        self.counts = {"float64": 0, "int64": 0, "int8": 0}
        self.spans: dict[str, tuple[slice, slice, slice]] = {}
        for family in families:
            spans = [self._span(family, dtype) for dtype in ("float64", "int64", "int8")]
            self.spans[family.name] = (spans[0], spans[1], spans[2])

    def _span(self, family: Family, dtype: DType) -> slice:
        start = self.counts[dtype]
        own = family.of_dtype(dtype)
        self.rows_of.update({column.name: start + k for k, column in enumerate(own)})
        self.counts[dtype] += len(own)
        return slice(start, start + len(own))


def padded(rows: int) -> int:
    """Return a row length of at least `rows` that is an odd number of cache lines.

    Kernels write one element of every column per row; with a power of two between columns all of those would compete
    for the same few lines of the cache. A row by itself takes no more room than it needs.
    """
    return ((rows + 7) // 8 | 1) * 8 if rows > 1 else rows


class Outputs(Mapping[str, AnyArray]):
    """The columns of one chunk by name, each [rows], views of one matrix per dtype. NaN and sentinels stand for null.

    Attributes
    ----------
    rows
        Rows of output.
    kept
        int64[rows]: which row of the chunk each of them belongs to, for whoever carries other columns along.
    """

    __slots__ = ("f64", "i8", "i64", "kept", "plan", "rows")

    def __init__(self, plan: Plan, kept: I64) -> None:
        width = padded(len(kept))
        self.plan, self.rows, self.kept = plan, len(kept), kept
        self.f64 = np.empty((plan.counts["float64"], width), FLOAT)
        self.i64 = np.empty((plan.counts["int64"], width), INT)
        self.i8 = np.empty((plan.counts["int8"], width), np.int8)

    def spread(self, rows: int, ts: I64, late: I8) -> "Outputs":
        """Return the outputs with null rows put between them, `rows` in all; each has its own `ts` and `is_late`."""
        wider = Outputs(self.plan, np.arange(rows))
        for own, values, null in ((self.f64, wider.f64, np.nan), (self.i64, wider.i64, NULL_INT)):
            values[:] = null
            values[:, self.kept] = own[:, : self.rows]
        wider.i8[:] = NULL_INT8
        wider.i8[:, self.kept] = self.i8[:, : self.rows]
        for name, given in (("ts", ts), ("is_late", late)):
            if name in self.plan.rows_of:
                wider[name][:] = given
        return wider

    def copy(self, rows: int | None = None) -> "Outputs":
        """Return the same in memory of its own; `rows`: the first of them only."""
        twin = object.__new__(Outputs)
        twin.plan, twin.rows, twin.kept = self.plan, self.rows if rows is None else rows, self.kept[:rows]
        twin.f64, twin.i64, twin.i8 = self.f64.copy(), self.i64.copy(), self.i8.copy()
        return twin

    def block(self, family: str) -> Block:
        """Return a family's rows of the matrices."""
        floats, ints, flags = self.plan.spans[family]
        return Block(self.f64[floats], self.i64[ints], self.i8[flags])

    def __getitem__(self, name: str) -> AnyArray:
        dtype = self.plan.dtype_of[name]
        matrix: AnyArray = self.f64 if dtype == "float64" else self.i64 if dtype == "int64" else self.i8
        column: AnyArray = matrix[self.plan.rows_of[name], : self.rows]
        return column

    def __iter__(self) -> Iterator[str]:
        return (column.name for column in self.plan.columns)

    def __len__(self) -> int:
        return len(self.plan.columns)
