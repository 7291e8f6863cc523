"""The serialised state: what it depends on, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.shared.errors import StateError
from tests.references.markets import book, random_deals, random_rows, trades

CONFIG = FeatureConfig(max_levels=3, horizons=(1, 60))
FEATURES = FeatureSet(CONFIG)


def some_bytes() -> bytes:
    rng = np.random.default_rng(1)
    rows = random_rows(rng, 60)
    chunk, run = book(rows, 3), trades(random_deals(rng, rows, 30))
    return FEATURES.state_to_bytes(FEATURES.apply(FEATURES.new_state(), chunk, run)[0])


def test_there_and_back() -> None:
    data = some_bytes()
    state = FEATURES.state_from_bytes(data)
    assert FEATURES.state_to_bytes(state) == data
    assert all(values.flags.writeable for fold in state.arrays.values() for values in fold.values())


def test_a_fresh_state_too() -> None:
    data = FEATURES.state_to_bytes(FEATURES.new_state())
    assert FEATURES.state_to_bytes(FEATURES.state_from_bytes(data)) == data


def test_every_damaged_byte_is_noticed() -> None:
    data = some_bytes()
    for at in {0, 7, 8, 12, 16, 40, len(data) // 2, len(data) - 33, len(data) - 1}:
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(StateError):
            FEATURES.state_from_bytes(bytes(broken))


@pytest.mark.parametrize("keep", [0, 5, 20, 100, -1])
def test_a_part_is_refused(keep: int) -> None:
    with pytest.raises(StateError, match="start afresh"):
        FEATURES.state_from_bytes(some_bytes()[:keep])


def test_another_format_is_refused_with_both_numbers() -> None:
    body = bytearray(some_bytes()[:-32])
    body[8] = 9
    data = bytes(body) + hashlib.sha256(body).digest()
    with pytest.raises(StateError, match="format 9, this version reads 1"):
        FEATURES.state_from_bytes(data)


def test_another_configuration_is_refused() -> None:
    other = FeatureSet(dataclasses.replace(CONFIG, spread_tight_percentile=0.1))
    with pytest.raises(StateError, match=other.fingerprint[:12]):
        other.state_from_bytes(some_bytes())


def test_the_fingerprint_is_stable_and_belongs_to_the_families() -> None:
    assert FeatureSet(CONFIG).fingerprint == FEATURES.fingerprint
    assert FeatureSet(CONFIG, ["vpin"]).fingerprint != FEATURES.fingerprint
    assert FeatureSet(dataclasses.replace(CONFIG, bar_durations=(7,))).fingerprint == FEATURES.fingerprint
