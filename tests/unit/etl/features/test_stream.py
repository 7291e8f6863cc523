"""Order of rows, repeats, bounds, and the checks at the engine's door."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from daedalus.etl.features import state as state_module
from daedalus.etl.features import stream
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.shared.errors import SchemaError, StateError
from tests.references.markets import Deal, Row, book, touch, trades
from tests.unit.etl.features.helpers import column, compute

FEATURES = FeatureSet(FeatureConfig(max_levels=2), ["identity", "rolling_flow", "vpin"])


def numbered(*pairs: tuple[float, int | None], reset_at: int | None = None) -> list[Row]:
    side = [(100.0, 1.0)]
    return [Row(at, side, [], seq, k == reset_at) for k, (at, seq) in enumerate(pairs)]


def test_a_repeated_sequence_number_is_dropped_and_the_first_kept() -> None:
    rows = numbered((1.0, 5), (1.5, 5), (2.0, 6), (2.5, None), (3.0, None), (3.5, 6), (4.0, 5), (4.5, 4), (5.0, 7))
    got = compute(rows)
    assert got.column("seq").to_pylist() == [5, 6, None, None, 4, 7]
    assert got.column("dt_s").to_pylist() == [None, 1.0, 0.5, 0.5, 1.5, 0.5]
    features = FeatureSet(FeatureConfig())
    assert features.apply(features.new_state(), book(rows))[1].kept.tolist() == [0, 2, 3, 4, 7, 8]


def test_a_repeat_after_a_reset_is_a_row() -> None:
    assert column(numbered((1.0, 5), (1.5, 5), reset_at=1), "seq") == [5, 5]
    assert column(numbered((1.0, 5), (302.0, 5)), "is_reset") == [1, 1]
    assert column(numbered((1.0, 5), (301.0, 5)), "is_reset") == [1]


def test_a_repeat_across_chunks_is_dropped() -> None:
    chunk = book(numbered((1.0, 5), (1.5, 5), (2.0, 5)), 2)
    state = FEATURES.new_state()
    counts = [FEATURES.apply(state, chunk.rows(k, k + 1))[1].rows for k in range(3)]
    assert counts == [1, 0, 0]


def test_late_rows_take_the_newest_time() -> None:
    rows = [touch(1.0, 9.0, 11.0), touch(3.0, 9.0, 11.0), touch(2.0, 9.0, 11.0), touch(3.5, 9.0, 11.0)]
    got = compute(rows)
    assert got.column("is_late").to_pylist() == [0, 0, 1, 0]
    assert np.diff(got.column("ts").to_pylist()).tolist() == [2_000_000_000, 0, 500_000_000]


def test_too_many_waiting_trades_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "TRADES_WAITING_MAX", 2)
    state = FEATURES.new_state()
    chunk, run = book([touch(1.0, 9.0, 11.0)], 2), trades([Deal(float(t), 1.0) for t in range(5)])
    with pytest.raises(StateError, match="3 trades wait for a later row of the order book"):
        FEATURES.apply(state, chunk, run)


def test_too_long_a_ring_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "RING_ROWS_MAX", state_module.RING_ROWS_START)
    rows = [touch(1.0, 9.0, 11.0)] * (state_module.RING_ROWS_START + 1)
    with pytest.raises(StateError, match="features rolling_flow: more than 1,024 rows"):
        FEATURES.apply(FEATURES.new_state(), book(rows, 2))


def test_a_book_of_another_depth_is_refused() -> None:
    with pytest.raises(SchemaError, match="the book has 3 levels, this table takes 2"):
        FEATURES.apply(FEATURES.new_state(), book([touch(1.0, 9.0, 11.0)], 3))


def test_no_rows_at_all() -> None:
    outputs = FEATURES.apply(FEATURES.new_state(), book([], 2), trades([]))[1]
    assert outputs.rows == 0
    assert FEATURES.to_arrow(outputs).num_rows == 0


def test_trades_that_come_before_any_row_wait() -> None:
    state, _ = FEATURES.apply(FEATURES.new_state(), book([], 2), trades([Deal(0.5, 0.25)]))
    outputs = FEATURES.apply(state, book([touch(1.0, 9.0, 11.0)], 2))[1]
    assert outputs["vpin_bucket_fill"].tolist() == [0.25]


def test_inputs_are_left_as_they_were() -> None:
    chunk, run = book([touch(2.0, 9.0, 11.0), touch(1.0, 9.0, 11.0)], 2), trades([Deal(2.0, 1.0), Deal(1.0, 1.0)])
    before = [value.tobytes() for given in (chunk, run) for value in dataclasses.astuple(given)]
    FEATURES.apply(FEATURES.new_state(), chunk, run)
    assert [value.tobytes() for given in (chunk, run) for value in dataclasses.astuple(given)] == before
