"""A published relation on a real market: mid moves are linear in order-flow imbalance (Cont, Kukanov, Stoikov 2014).

A Binance spot BTCUSDT session of ten minutes, best quotes by receive time, sampled every 10 s.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from daedalus.etl.features.base import NULL_INT
from daedalus.etl.features.chunks import BookChunk, TradeChunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet

FILES = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")
SECOND_NS = 1_000_000_000
STEP_NS = 10 * SECOND_NS


def session(folder: Path) -> tuple[BookChunk, TradeChunk]:
    """Return best quotes as books of one level, and trades; both at receive time."""
    quotes, deals = [], []
    for name in FILES:
        with gzip.open(folder / "binance_raw" / name, "rt") as file:
            for received, _, text in (line.partition(" ") for line in file):
                frame = json.loads(text)
                stream, data = frame.get("stream", ""), frame.get("data", {})
                if stream.endswith("@bookTicker"):
                    quotes.append((int(received), *(float(data[key]) for key in "bBaA")))
                elif stream.endswith("@trade"):
                    side = -1 if data["m"] else 1
                    deals.append((int(received), float(data["p"]), float(data["q"]), side))
    at, bid, bid_size, ask, ask_size = (np.array(column) for column in zip(*quotes, strict=True))
    sides = (np.ascontiguousarray(side.reshape(-1, 1)) for side in (bid, bid_size, ask, ask_size))
    book = BookChunk(at, at, np.full(len(at), NULL_INT), np.zeros(len(at), np.bool_), *sides)
    when, price, amount, side = (np.array(column) for column in zip(*deals, strict=True))
    return book, TradeChunk(when, when, price, amount, side.astype(np.int8))


def r_squared(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def test_moves_are_linear_in_order_flow_and_less_so_in_trades(recordings: Path) -> None:
    book, trades = session(recordings)
    features = FeatureSet(FeatureConfig(max_levels=1, include=("mid", "ofi"), exclude=("rolling_*",)))
    outputs = features.apply(features.new_state(), book, trades)[1]
    ts, mid, flow = outputs["ts"], outputs["mid"], np.nan_to_num(outputs["ofi"])
    # Every tenth point of the 1 s grid; a point takes the last row at or before it and adds none (T7).
    points = np.arange(-(-ts[0] // SECOND_NS) * SECOND_NS, ts[-1] + 1, STEP_NS)
    rows = np.searchsorted(ts, points, "right")
    moves = np.diff(mid[rows - 1])
    ofi = np.diff(np.concatenate([[0.0], np.cumsum(flow)])[rows])
    deals = np.searchsorted(trades.ts, points, "right")
    imbalance = np.diff(np.concatenate([[0.0], np.cumsum(trades.side * trades.amount)])[deals])
    assert len(moves) == 64
    assert r_squared(ofi, moves) == pytest.approx(0.676, abs=0.0005)
    assert r_squared(imbalance, moves) == pytest.approx(0.21, abs=0.005)
