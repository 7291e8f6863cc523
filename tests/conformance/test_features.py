"""What every feature family promises. A family is tested by being in the registry."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pyarrow.compute as pc
import pytest

from daedalus.etl.features.base import NULL_INT, Family
from daedalus.etl.features.calibration import MicropriceCalibration
from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.registry import FAMILIES, families
from daedalus.shared.errors import StateError
from tests.references.features import assert_matches, reference
from tests.references.markets import Deal, Row, book, random_deals, random_rows, trades
from tests.references.running import differing, run_chunks, run_whole
from tests.references.static_features import Values

CONFIG = FeatureConfig(
    max_levels=5,
    horizons=(1, 5, 60, 300),
    kyle_lambda_window=30,
    vpin_bucket_volume=3.0,
    vpin_window_buckets=4,
    spread_regime_window=120,
    tick_size=0.5,
    microprice_calibration=MicropriceCalibration(
        0.5, (0.2, 0.5, 0.7), ((-0.2, -0.1, None, 0.2), (-0.3, 0, 0.1, 0.3), (0, 0, 0, 0.5))
    ),
    normalise=("spread_bps_z_60s", "dspread_*_z_1s", "ofi_bi?_rank_20", "n_levels_bid_rank_7", "microprice_ewz_hl10s"),
    hawkes_mu=(0.1, 0.2),
    hawkes_alpha=(0.5, 0.1, 0.2, 0.4),
    hawkes_beta=0.8,
    feature_set="full",
)
NAMES = [family.name for family in families(CONFIG)]
# What a reset must make as if nothing had been before (S1); the rest is windows, bars and buckets, which stay (S3).
FORGETFUL = {"identity": set(), "order_flow": set(), "changes": {"mid_tick_dir"}}
# What the market of these tests is too short or too shallow for, or lacks; it has no tickers.
SILENT = (
    *("gap_bps_bid_l4", "gap_bps_ask_l4", "bpv_1s", "jump_", "rskew_1s", "rkurt_1s", "lm_"),
    *("lob_norm_", "ofi_integrated_", "ticker_age_s", "quoted_bid_ask_vs_book_bps"),
)


@cache
def market(seed: int) -> tuple[list[Row], list[Deal]]:
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 240)
    return rows, random_deals(rng, rows, 120)


@cache
def arrays(seed: int) -> tuple[BookChunk, TradeChunk]:
    rows, deals = market(seed)
    return book(rows, CONFIG.max_levels), trades(deals)


@cache
def expected(seed: int) -> list[Values]:
    return reference(*market(seed), CONFIG)


@cache
def only(name: str) -> FeatureSet:
    return FeatureSet(CONFIG, [name])


def own(features: FeatureSet, name: str) -> Family:
    return next(family for family in features.families if family.name == name)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_names_are_unique_and_every_column_says_what_it_is() -> None:
    columns = [column for family in families(FeatureConfig()) for column in family.columns]
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.doc and column.dtype in ("float64", "int64", "int8") for column in columns)
    assert [family.name for family in families(FeatureConfig())] == [declare.__name__ for declare in FAMILIES]


def test_a_family_runs_after_those_it_needs(name: str) -> None:
    features = only(name)
    before: set[str] = set()
    for family in features.families:
        assert set(family.needs) <= before
        before |= {family.name, *(column.name for column in family.columns)}


def test_causal(name: str) -> None:
    features = only(name)
    chunk, run = arrays(1)
    whole, _ = run_whole(features, chunk, run)
    for stop in (1, 2, 17, 100, 239):
        upto = int(np.searchsorted(run.collected_at, chunk.collected_at[:stop].max(), "right"))
        part, _ = run_whole(features, chunk.rows(0, stop), run.rows(0, upto))
        rows = len(part["ts"]) if "ts" in part else len(next(iter(part.values())))
        assert not differing(part, {key: values[:rows] for key, values in whole.items()})


@pytest.mark.parametrize("restarts", [False, True], ids=["chunked", "restarted"])
def test_equal_to_the_bit_however_it_is_cut(name: str, restarts: bool) -> None:
    features = only(name)
    chunk, run = arrays(2)
    whole, state = run_whole(features, chunk, run)
    rng = np.random.default_rng(5)
    for cuts in (list(range(1, len(chunk))), [0, 1, 240], rng.integers(0, 240, 9).tolist()):
        parts, last = run_chunks(features, chunk, run, cuts, restarts, early=int(rng.integers(0, 3)))
        assert not differing(parts, whole)
        assert last == state


@pytest.mark.parametrize("name", FORGETFUL)
def test_a_reset_forgets_the_row_before(name: str) -> None:
    features = only(name)
    chunk, run = arrays(3)
    at = 120
    chunk.reset[:] = False
    flags = chunk.reset.copy()
    flags[at] = True
    flagged = dataclasses.replace(chunk, reset=flags, seq=np.full(len(chunk), NULL_INT), ts=np.sort(chunk.ts))
    whole, _ = run_whole(features, flagged, run)
    fresh, _ = run_whole(features, flagged.rows(at, len(chunk)), run)
    names = {column.name for column in own(features, name).columns} - FORGETFUL[name]
    late = {key: values[at:] for key, values in whole.items() if key in names}
    assert not differing(late, {key: values for key, values in fresh.items() if key in names})


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_agrees_with_the_naive_reference(name: str, seed: int) -> None:
    features = only(name)
    chunk, run = arrays(seed)
    outputs = features.apply(features.new_state(), chunk, run)[1]
    assert_matches(features.to_arrow(outputs), expected(seed))


def test_every_column_says_something(name: str) -> None:
    features = only(name)
    known: set[str] = set()
    for seed in (4, 5, 6):
        batch = features.to_arrow(features.apply(features.new_state(), *arrays(seed))[1])
        known |= {column for column in batch.schema.names if batch.column(column).null_count < batch.num_rows}
    silent = {column.name for column in own(features, name).columns if column.name in features.arrow_schema.names}
    assert {column for column in silent - known if not column.startswith(SILENT)} == set()


def test_no_infinity_and_no_nan_leaves(name: str) -> None:
    features = only(name)
    chunk, run = arrays(7)
    wild = dataclasses.replace(chunk, bid_size=chunk.bid_size * 1e300, ask_price=chunk.ask_price * 1e290)
    for given in (chunk, wild):
        outputs = features.apply(features.new_state(), given, run)[1]
        batch = features.to_arrow(outputs)
        batch.validate(full=True)
        for column in features.columns:
            values = batch.column(column.name)
            if column.dtype == "float64":
                assert pc.all(pc.is_finite(values), min_count=0).as_py() is not False, column.name
                assert values.null_count == int((~np.isfinite(outputs[column.name])).sum())


def test_an_empty_chunk_changes_nothing(name: str) -> None:
    features = only(name)
    chunk, run = arrays(8)
    state, _ = features.apply(features.new_state(), chunk, run)
    before = features.state_to_bytes(state)
    state, outputs = features.apply(state, chunk.rows(0, 0), None)
    assert features.state_to_bytes(state) == before
    assert features.to_arrow(outputs).num_rows == 0


def test_a_new_state_is_zeros_and_belongs_to_its_features(name: str) -> None:
    features = only(name)
    state = features.new_state()
    assert not any(values.tobytes().strip(b"\0") for fold in state.arrays.values() for values in fold.values())
    others = FeatureSet(dataclasses.replace(CONFIG, max_state_staleness_seconds=17.0), [name])
    assert others.fingerprint != features.fingerprint
    with pytest.raises(StateError, match="another configuration"):
        others.state_from_bytes(features.state_to_bytes(state))
    with pytest.raises(StateError, match="another feature set"):
        others.apply(state, *arrays(1))
