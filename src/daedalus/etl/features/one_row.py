"""A book row by itself, for live use: the kernel calls of one row are recorded once and then repeated natively.

The same kernels on the same state: the numbers are those of `FeatureSet.apply`, to the bit, at a tenth of the cost.
"""

import logging

import numpy as np

from daedalus.etl.features import stream
from daedalus.etl.features.base import F64, NULL_INT, Frame, Outputs
from daedalus.etl.features.calls import Call, Caller, Recorder, directly
from daedalus.etl.features.chunks import NO_TRADES, BookChunk
from daedalus.etl.features.cleaning import clean_side
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.native import Program, UnknownConventionError, signature_of, table_of
from daedalus.etl.features.state import State
from daedalus.etl.features.tickers import NO_TICKERS
from daedalus.shared.events import LEVEL, BookSnapshot

#: A side with more levels than this goes the ordinary way.
LEVELS_MAX = 1024
_LOG = logging.getLogger(__name__)
_PROGRAMS: dict[tuple[object, ...], Program] = {}


class OneRow:
    """Applies a feature set to one snapshot after the other of one market.

    Parameters
    ----------
    features
        Whose families all replay.
    state
        Updated in place. Others may apply `features` to it in between, if they set `is_checked` to False.
    """

    def __init__(self, features: FeatureSet, state: State) -> None:
        self.features, self.state = features, state
        self.is_checked = False
        self._is_refused = False
        self._input = _Input()
        self._replay: _Replay | None = None

    def apply(self, book: BookSnapshot, is_reset: bool) -> Outputs | None:
        """Return the row of a snapshot, none for a repeat (T2); None if it must go the ordinary way."""
        if not self.is_checked and not self._check():
            return None
        if not self._input.take(book, is_reset):
            return None
        if self._replay is None:
            return self._record()
        outputs = self._replay.run()
        if not self._replay.is_whole:
            self._replay = None
        return outputs

    def _check(self) -> bool:
        """Make sure that nothing waits for a row and that the rings are where they were."""
        waiting = self.state.arrays["stream"]
        if any(len(waiting[field.name]) for field in stream.FIELDS if field.kind == "queue"):
            return False
        if self._replay is not None and not self._replay.is_current(self.state):
            self._replay = None
        self.is_checked = True
        return True

    def _record(self) -> Outputs:
        """Compute the row the ordinary way, noting the calls."""
        recorder = Recorder()
        book = self._input.chunk(self.features.levels, recorder)
        frame = self.features.begin(self.state, book, NO_TRADES, NO_TICKERS, recorder)
        begun = len(recorder.calls)
        rings = _rings(self.features, self.state)
        owners = [-1] * begun
        for number in range(len(self.features.families)):
            self.features.run(self.state, frame, number)
            owners += [number] * (len(recorder.calls) - len(owners))
        frame.call = directly
        if frame.rows == 1 and not self._is_refused:
            try:
                replay = _Replay(self.features, self.state, frame, recorder.calls, owners, rings)
                self._replay = replay if replay.is_current(self.state) else None
            except UnknownConventionError as error:
                self._is_refused = True
                _LOG.warning(
                    "rows by themselves take longer than they should: %s; install a version of Numba that "
                    "this version of Daedalus was tested with",
                    error,
                )
        return frame.outputs.copy()


class _Input:
    """The memory that a snapshot is copied to."""

    def __init__(self) -> None:
        self._numbers, self._reset = np.zeros(3, np.int64), np.zeros(1, np.bool_)
        self._levels, self._offsets = np.zeros((2, LEVELS_MAX, 2)), np.zeros((2, 2), np.int64)
        self._view = memoryview(self._numbers)  # type: ignore[arg-type]
        self._bytes = [memoryview(side).cast("B") for side in self._levels]  # type: ignore[arg-type]
        self._counts = memoryview(self._offsets)  # type: ignore[arg-type]

    def take(self, book: BookSnapshot, is_reset: bool) -> bool:
        """Copy a snapshot; return whether there was room for it."""
        bids, asks = book.bids, book.asks
        if max(len(bids), len(asks)) > LEVELS_MAX * LEVEL.size:
            return False
        received, at, seq = book.collected_at, book.timestamp, book.nonce
        view = self._view
        view[0] = received if at is None else at * 1000
        view[1] = received
        view[2] = NULL_INT if seq is None else seq
        self._reset[0] = is_reset
        self._bytes[0][: len(bids)] = bids
        self._bytes[1][: len(asks)] = asks
        self._counts[0, 1] = len(bids) // LEVEL.size
        self._counts[1, 1] = len(asks) // LEVEL.size
        return True

    def chunk(self, max_levels: int, call: Caller) -> BookChunk:
        """Return the snapshot as a chunk in memory that the calls refer to."""
        sides: list[F64] = []
        for offsets, levels, sign in zip(self._offsets, self._levels, (1.0, -1.0), strict=True):
            levels = levels.view()
            levels.flags.writeable = False
            sides += clean_side(offsets, levels[:, 0], levels[:, 1], max_levels, sign, call)
        ts, received, seq = (self._numbers[k : k + 1] for k in range(3))
        return BookChunk(ts, received, seq, self._reset, *sides)


class _Replay:
    """The calls of one row, ready to be repeated."""

    def __init__(
        self,
        features: FeatureSet,
        state: State,
        frame: Frame,
        calls: list[Call],
        owners: list[int],
        rings: list[tuple[str, str, int]],
    ) -> None:
        self._features, self._state, self._frame = features, state, frame
        self._calls, self._owners, self._rings = calls, owners, rings
        self._table = table_of(calls)
        self._address = self._table.ctypes.data
        kinds = signature_of(calls)
        if kinds not in _PROGRAMS:
            _PROGRAMS[kinds] = Program(calls)
        self._program = _PROGRAMS[kinds]
        self.is_whole = True

    def is_current(self, state: State) -> bool:
        """Return whether the rings still are the ones that the calls refer to."""
        return self._rings == _rings(self._features, state)

    def run(self) -> Outputs:
        """Compute a row."""
        done = self._program.run(self._address)
        if done == len(self._calls):
            return self._frame.outputs.copy()
        owner = self._owners[done]
        if owner < 0:  # The stream kept no row.
            return self._frame.outputs.copy(rows=0)
        # A ring is full: what is left goes the ordinary way, which makes it longer.
        for number in range(owner, len(self._features.families)):
            self._features.run(self._state, self._frame, number)
        self.is_whole = False
        return self._frame.outputs.copy()


def _rings(features: FeatureSet, state: State) -> list[tuple[str, str, int]]:
    """Return where the rings of a state are."""
    return [
        (fold, field.name, state.arrays[fold][field.name].ctypes.data)
        for fold, fields in features.layout.items()
        for field in fields
        if field.kind == "ring"
    ]
