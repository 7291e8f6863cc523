"""Single trades against the naive reference, column by column, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from daedalus.etl.features.base import Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.trade_rows import COLUMNS, PLACE
from tests.references.deal_features import annotated
from tests.references.markets import Deal, book, random_deals, random_rows, touch, trades
from tests.references.static_features import kept_rows, static
from tests.unit.etl.features.helpers import column


@pytest.fixture
def deals_seen(monkeypatch: pytest.MonkeyPatch) -> list[Frame]:
    """Collect the frames that the engine works on."""
    from daedalus.etl.features import stream

    frames: list[Frame] = []
    advance = stream.advance
    monkeypatch.setattr(stream, "advance", lambda *given: frames.append(advance(*given)) or frames[-1])
    return frames


@pytest.mark.parametrize("seed", [1, 2])
def test_every_column_of_a_trade(seed: int, deals_seen: list[Frame]) -> None:
    config = FeatureConfig(max_levels=3)
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 150)
    deals = random_deals(rng, rows, 260)
    features = FeatureSet(config, ["trade_flow"])
    features.apply(features.new_state(), book(rows, 3), trades(deals))
    kept = kept_rows(rows, config.staleness_ns)
    want = annotated(kept, [static(row, config) for row, _, _ in kept], deals, config)
    got = deals_seen[0].deals[:, : len(want)]
    assert len(want) > 200
    for k, declared in enumerate(COLUMNS):
        expected = [trade.get(declared.name) for _, trade in want]
        filled = np.array([math.nan if value is None else value for value in expected], float)
        np.testing.assert_allclose(got[k], filled, rtol=1e-9, atol=1e-9, err_msg=declared.name)


def test_a_trade_sees_the_book_strictly_before_it_and_not_too_old() -> None:
    rows = [touch(1.0, 99.0, 101.0), touch(2.0, 109.0, 111.0), touch(302.0, 109.0, 111.0), touch(700.0, 99.0, 101.0)]
    deals = [Deal(2.0, 1.0, 1, 102.0), Deal(302.0, 1.0, 1, 121.0), Deal(602.000001, 1.0, 1, 121.0)]
    paid = column(rows, "effective_spread_bps_900s", deals, horizons=(900,))
    assert paid[1] == pytest.approx(2 * 2.0 / 100.0 * 1e4)
    assert paid[2] == pytest.approx((2 * 2.0 / 100.0 + 2 * 11.0 / 110.0) / 2 * 1e4)
    assert paid[3] == paid[2]


def test_a_missing_side_is_found_by_quote_and_then_by_tick() -> None:
    rows = [touch(1.0, 99.0, 101.0), touch(10.0, 99.0, 101.0)]
    deals = [Deal(2.0, 1.0, 0, 100.5), Deal(3.0, 2.0, 0, 99.5), Deal(4.0, 4.0, 0, 100.0), Deal(5.0, 8.0, 0, 100.0)]
    assert column(rows, "buy_volume_60s", deals, horizons=(60,))[-1] == 13.0
    assert column(rows, "sell_volume_60s", deals, horizons=(60,))[-1] == 2.0
    assert column(rows, "tfi_60s", deals, horizons=(60,)) == [0.0, 11.0]
    assert column(rows[1:], "n_buys_60s", [Deal(2.0, 1.0, 0, 100.0)], horizons=(60,)) == [0]


def test_a_sweep_counts_different_prices(deals_seen: list[Frame]) -> None:
    deals = [Deal(1.0, 1.0, 1, price) for price in (100.0, 101.0, 100.0, 102.0)] + [Deal(1.0, 1.0, -1, 102.0)]
    features = FeatureSet(FeatureConfig(max_levels=1), ["trade_flow"])
    features.apply(features.new_state(), book([touch(2.0, 99.0, 101.0)], 1), trades(deals))
    assert deals_seen[0].deals[PLACE["sweep_levels"]].tolist() == [1, 2, 2, 3, 1]
    assert deals_seen[0].deals[PLACE["sweep_size"]].tolist() == [1, 2, 3, 4, 1]


def test_a_late_trade_finds_the_quote_of_its_time() -> None:
    rows = [touch(1.0, 99.0, 101.0), touch(250.0, 109.0, 111.0), touch(302.0, 109.0, 111.0), touch(303.0, 9.0, 11.0)]
    late = Deal(240.0, 1.0, 1, 102.0, delay=63.0)
    assert column(rows, "effective_spread_bps_900s", [late], horizons=(900,))[-1] == pytest.approx(
        2 * 2.0 / 100.0 * 1e4
    )
