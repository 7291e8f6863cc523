"""Running a feature set over a market at once, in chunks, and with restarts."""

from __future__ import annotations

import itertools

import numpy as np

from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.engine import FeatureSet

Arrays = dict[str, np.ndarray]


def run_whole(features: FeatureSet, book: BookChunk, trades: TradeChunk) -> tuple[Arrays, bytes]:
    """Return all columns and the final state's bytes of one pass."""
    state, outputs = features.apply(features.new_state(), book, trades)
    return {name: outputs[name].copy() for name in outputs}, features.state_to_bytes(state)


def run_chunks(
    features: FeatureSet,
    book: BookChunk,
    trades: TradeChunk,
    cuts: list[int],
    restarts: bool = False,
    early: int = 0,
) -> tuple[Arrays, bytes]:
    """Return the same of many passes.

    Every chunk comes with the trades received by its last row and `early` more; with `restarts` the state goes through
    its bytes between chunks.
    """
    state = features.new_state()
    parts: dict[str, list[np.ndarray]] = {column.name: [] for column in features.columns}
    given = 0
    edges = [0, *sorted(cuts), len(book)]
    for start, stop in itertools.pairwise(edges):
        received = book.collected_at[:stop].max(initial=0)
        upto = max(given, int(np.searchsorted(trades.collected_at, received, "right")) + early)
        state, outputs = features.apply(state, book.rows(start, stop), trades.rows(given, upto))
        given = min(upto, len(trades))
        for name in outputs:
            parts[name].append(outputs[name].copy())
        if restarts:
            state = features.state_from_bytes(features.state_to_bytes(state))
    state, _ = features.apply(state, book.rows(0, 0), trades.rows(given, len(trades)))
    return {name: np.concatenate(values) for name, values in parts.items()}, features.state_to_bytes(state)


def differing(left: Arrays, right: Arrays) -> list[str]:
    """Return the names of columns that are not equal to the bit."""
    assert left.keys() == right.keys()
    return [name for name in left if left[name].tobytes() != right[name].tobytes()]
