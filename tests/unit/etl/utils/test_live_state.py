"""A live engine's state on disk: the artefact of the runs, taken up by either, and refused with the reason."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.live import FeatureEngine, Market
from daedalus.etl.transforms import base
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.etl.utils.live_state import load_state, save_state
from daedalus.etl.utils.state_manager import StateManager
from daedalus.shared.errors import StateError
from daedalus.shared.events import Event, Gap
from tests.references.markets import START_NS, book_events, random_deals, random_rows, trade_events

CONFIG = FeatureConfig(max_levels=3, horizons=(1, 60), feature_set="core")
MARKET = Market("sandbox", "BTC-USD")
BEGAN = dt.datetime.fromtimestamp(START_NS // 10**9, dt.UTC)
SPAN = {"began": BEGAN, "until": BEGAN + dt.timedelta(hours=1), "rows": 30}


def events() -> list[Event]:
    rng = np.random.default_rng(4)
    rows = [dataclasses.replace(row, reset=False) for row in random_rows(rng, 60)]
    made: list[Event] = [*trade_events(random_deals(rng, rows, 40), "BTC-USD"), *book_events(rows, "BTC-USD")]
    return sorted(made, key=lambda event: event.collected_at)


def columns(engine: FeatureEngine, stream: list[Event]) -> list[bytes]:
    """Return the bits of all columns of all rows."""
    return [made.outputs[name].tobytes() for made in engine.update(stream) for name in made.outputs]


def test_a_state_comes_back_from_its_file(tmp_path: Path) -> None:
    stream, path = events(), tmp_path / "state" / "btc-usd_orderbook.json"
    engine, later = FeatureEngine(CONFIG), FeatureEngine(CONFIG)
    assert load_state(path, later, MARKET) is None
    engine.update(stream[:50])
    save_state(path, engine, MARKET, **SPAN)
    save_state(path, engine, MARKET, **SPAN)
    assert load_state(path, later, MARKET) == SPAN["until"]
    assert columns(later, stream[50:]) == columns(engine, stream[50:])
    assert len(list(path.parent.iterdir())) == 2


def test_a_reset_that_no_row_has_answered_is_kept(tmp_path: Path) -> None:
    stream, engine, later = events(), FeatureEngine(CONFIG), FeatureEngine(CONFIG)
    engine.update(stream[:50])
    gap = {"channel": "orderbook", "started_at": 1, "ended_at": 1, "reason": "stall"}
    engine.update([Gap(collected_at=1, exchange=MARKET.exchange, symbol=MARKET.symbol, **gap)])
    save_state(tmp_path, engine, MARKET, **SPAN)
    load_state(tmp_path, later, MARKET)
    assert later.resets == {MARKET}
    assert columns(later, stream[50:]) == columns(engine, stream[50:])


def test_the_runs_take_up_a_live_state_and_the_engine_one_of_theirs(tmp_path: Path) -> None:
    stream, engine, later = events(), FeatureEngine(CONFIG), FeatureEngine(CONFIG)
    engine.update(stream)
    save_state(tmp_path / "live.json", engine, MARKET, **SPAN)
    transform, market = OrderbookFeatureTransform(CONFIG), base.Market(*MARKET)
    found = StateManager(tmp_path / "live.json").load("orderbook", market, transform.fingerprint)
    assert found is not None
    data = transform.begin(market, found[1]).to_bytes()
    assert data == found[1]
    StateManager(tmp_path / "run.json").commit("orderbook", market, transform.fingerprint, data, **SPAN)
    load_state(tmp_path / "run.json", later, MARKET)
    state = later.states[MARKET]
    assert later.features.state_to_bytes(state) == engine.features.state_to_bytes(engine.states[MARKET])


def test_states_that_cannot_be_used_are_refused_with_the_reason(tmp_path: Path) -> None:
    engine, path = FeatureEngine(CONFIG), tmp_path / "state.json"
    with pytest.raises(StateError, match="seen nothing of sandbox BTC-USD"):
        save_state(path, engine, MARKET, **SPAN)
    engine.update(events())
    save_state(path, engine, MARKET, **SPAN)
    with pytest.raises(StateError, match="of sandbox BTC-USD, not of orderbook of sandbox ETH-USD"):
        load_state(path, engine, Market("sandbox", "ETH-USD"))
    with pytest.raises(StateError, match="not of trades of"):
        load_state(path, FeatureEngine(CONFIG, "trades"), MARKET)
    with pytest.raises(StateError, match="another configuration"):
        load_state(path, FeatureEngine(FeatureConfig()), MARKET)
    body = tmp_path / json.loads(path.read_text())["checkpoints"][0]["file"]
    data = body.read_bytes()
    body.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StateError, match="damaged"):
        load_state(path, engine, MARKET)
    body.unlink()
    with pytest.raises(StateError, match="missing"):
        load_state(path, engine, MARKET)
    path.write_text("{}")
    with pytest.raises(StateError, match="is not a state"):
        load_state(path, engine, MARKET)
