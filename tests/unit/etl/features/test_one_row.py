"""A row by itself, by recorded calls: the same bits as `FeatureSet.apply`, in output and state."""

from __future__ import annotations

import numpy as np
import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.live import FeatureEngine, Market, book_of, trades_of
from daedalus.etl.features.one_row import LEVELS_MAX, OneRow
from daedalus.etl.features.registry import families
from daedalus.etl.features.state import RING_ROWS_START
from daedalus.shared.events import BookSnapshot, Gap, Trade, pack_levels
from tests.references.markets import START_NS, Row, random_rows

CONFIG = FeatureConfig(max_levels=5, horizons=(1, 5, 60), spread_regime_window=120, feature_set="full")
REPLAYING = [family.name for family in families(CONFIG) if family.replays]
NAMES = {"exchange": "sandbox", "symbol": "BTC-USD"}
MARKET = Market("sandbox", "BTC-USD")


def snapshot(row: Row) -> BookSnapshot:
    sides = {"bids": pack_levels(row.bids), "asks": pack_levels(row.asks)}
    return BookSnapshot(collected_at=row.collected_at, timestamp=row.ts // 1000, nonce=row.seq, **sides, **NAMES)


def steady(count: int) -> list[Row]:
    """Return rows 100 ms apart."""
    rng = np.random.default_rng(3)
    sizes = rng.uniform(0.1, 2.0, (count, 2))
    return [Row(0.1 * k, [(99.0 - k % 3, sizes[k, 0])], [(101.0 + k % 2, sizes[k, 1])], k) for k in range(count)]


def assert_same(features: FeatureSet, rows: list[Row], replayed: int) -> None:
    """Compute rows one by one, in both ways; most of them must have been replayed."""
    state = features.new_state()
    one, count = OneRow(features, features.new_state()), 0
    for row in rows:
        book = snapshot(row)
        state, want = features.apply(state, book_of([book], features.config.max_levels, [row.reset]))
        got = one.apply(book, row.reset)
        count += one._replay is not None
        assert got is not None
        assert len(got.kept) == got.rows == want.rows
        assert [name for name in want if got[name].tobytes() != want[name].tobytes()] == []
    assert count >= replayed
    assert features.state_to_bytes(state) == features.state_to_bytes(one.state)


@pytest.mark.parametrize("name", REPLAYING)
def test_every_family_that_says_so_replays(name: str) -> None:
    features = FeatureSet(CONFIG, [name])
    assert features.replays
    assert_same(features, random_rows(np.random.default_rng(1), 120), replayed=100)


@pytest.mark.parametrize("feature_set", ["core", "standard"])
def test_the_small_sets_replay_and_rings_grow_on_the_way(feature_set: str) -> None:
    features = FeatureSet(FeatureConfig(max_levels=2, horizons=(1, 900), feature_set=feature_set))  # type: ignore[arg-type]
    assert features.replays
    assert_same(features, steady(RING_ROWS_START + 100), replayed=RING_ROWS_START)


def test_a_set_with_another_family_does_not() -> None:
    assert not FeatureSet(FeatureConfig(feature_set="full")).replays


def test_trades_and_gaps_in_between_count() -> None:
    features = FeatureSet(FeatureConfig(max_levels=2, horizons=(1, 60), vpin_bucket_volume=2.0, vpin_window_buckets=2))
    engine, state = FeatureEngine(features.config), features.new_state()
    fresh = False
    for k, row in enumerate(steady(200)):
        book = snapshot(row)
        if k % 5 == 2:
            trade = Trade(collected_at=book.collected_at - 1, price=100.0, amount=1.0, side="buy", **NAMES)
            assert engine.update([trade]) == []
            state, _ = features.apply(state, book_of([], 2, []), trades_of([trade]))
        if k == 150:
            gap = Gap(collected_at=1, channel="orderbook", started_at=1, ended_at=1, reason="stall", **NAMES)
            assert engine.update([gap]) == []
            fresh = True
        (made,) = engine.update([book])
        state, want = features.apply(state, book_of([book], 2, [fresh]))
        fresh = False
        assert [name for name in want if made.outputs[name].tobytes() != want[name].tobytes()] == []
        assert bool(made.outputs["is_reset"][0]) is (k in (0, 150))
    assert features.state_to_bytes(state) == features.state_to_bytes(engine.states[MARKET])


def test_a_state_put_in_place_of_another_is_taken_up() -> None:
    features = FeatureSet(FeatureConfig(max_levels=2, horizons=(1, 60)))
    engine = FeatureEngine(features.config)
    books = [snapshot(row) for row in steady(20)]
    for book in books[:10]:
        engine.update([book])
    saved = features.state_to_bytes(engine.states[MARKET])
    first = [engine.update([book])[0].features for book in books[10:]]
    engine.states[MARKET] = features.state_from_bytes(saved)
    again = [engine.update([book])[0].features for book in books[10:]]
    assert all(left.equals(right) for left, right in zip(first, again, strict=True))


def test_a_side_too_deep_for_the_buffer_goes_the_ordinary_way() -> None:
    features = FeatureSet(FeatureConfig(max_levels=2))
    deep = [(1.0 + k, 1.0) for k in range(LEVELS_MAX + 1)]
    row = Row(0.0, deep, [(5000.0, 1.0)])
    assert OneRow(features, features.new_state()).apply(snapshot(row), False) is None
    (made,) = FeatureEngine(features.config).update([snapshot(row)])
    assert made.outputs["bid_price_l0"][0] == 1.0 + LEVELS_MAX
    assert made.outputs["ts"][0] == START_NS
