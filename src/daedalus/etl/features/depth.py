"""Depth by number of levels and by distance from mid (feature catalogue, section 3)."""

import numpy as np

from daedalus.etl.features.base import F64, I8, I64, NULL_INT8, Arrays, Block, Family, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import blank, ratio
from daedalus.shared.schemas import Column

#: (100 - 99.95) / 100 * 1e4 is 4.9999999999997 in floats: a level this close below an edge stands on it.
EDGE_TOLERANCE_BPS = 1e-9
_CORE = ("imbalance_n*", "depth_bid_n5", "depth_ask_n5", "depth_bid_b*", "depth_ask_b*", "imbalance_b*")


def depth(config: FeatureConfig) -> Family | None:
    """Declare the family; None when features are switched off."""
    if not config.compute_features:
        return None
    counts = level_sets(config)
    columns = (*_count_columns(counts), *_band_columns(config.bands_bps))
    run = _runner(np.array(counts, np.int64), np.array(config.bands_bps, np.float64))
    return Family(
        "depth", 1, "depth by levels and by distance", columns, run, core=_CORE, standard=("*",), replays=True
    )


def level_sets(config: FeatureConfig) -> tuple[int, ...]:
    """Return the K of the `_n{K}` columns, ascending: those wanted that exist."""
    return tuple(sorted(k for k in config.level_sets if k <= config.max_levels))


def band_names(bands_bps: tuple[float, ...]) -> tuple[str, ...]:
    """Return `{lo}_{hi}` of every band.

    Examples
    --------
    >>> band_names((5.0, 7.5))
    ('0_5', '5_7.5')
    """
    return tuple(f"{low:g}_{high:g}" for low, high in zip((0.0, *bands_bps), bands_bps, strict=False))


def _count_columns(counts: tuple[int, ...]) -> list[Column]:
    columns = [
        Column(f"depth_{side}_n{k}", "float64", "base", f"size of the first {k} {side} levels")
        for side in ("bid", "ask")
        for k in counts
    ]
    columns += [
        Column(f"depth_notional_{side}_n{k}", "float64", "quote", f"price * size of the first {k} {side} levels")
        for side in ("bid", "ask")
        for k in counts
    ]
    columns += [Column(f"imbalance_n{k}", "float64", "", f"imbalance of the first {k} levels") for k in counts]
    return columns


def _band_columns(bands_bps: tuple[float, ...]) -> list[Column]:
    names = band_names(bands_bps)
    edges = [f"{high:g}bps" for high in bands_bps]
    columns = [
        Column(
            f"depth_{side}_b{name}",
            "float64",
            "base",
            f"{side} size {name.replace('_', ' to ')} bps from mid, [lo, hi)",
        )
        for side in ("bid", "ask")
        for name in names
    ]
    columns += [
        Column(f"depth_cum_{side}_{edge}", "float64", "base", f"{side} size nearer than {edge} to mid")
        for side in ("bid", "ask")
        for edge in edges
    ]
    columns += [Column(f"imbalance_b{name}", "float64", "", "imbalance of the band") for name in names]
    columns += [Column(f"imbalance_cum_{edge}", "float64", "", f"imbalance nearer than {edge}") for edge in edges]
    columns += [
        Column(
            f"book_covers_{side}_{edges[-1]}", "int8", "0/1", f"last kept {side} level is {edges[-1]} or more from mid"
        )
        for side in ("bid", "ask")
    ]
    return columns


def _runner(counts: I64, edges: F64) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
        frame.call(_depth, *sides, frame.bid_levels, frame.ask_levels, counts, edges, out.f64, out.i8)

    return run


@kernel
def _depth(
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    bids: I64,
    asks: I64,
    counts: I64,
    edges: F64,
    out: F64,
    covers: I8,
) -> None:
    sets, bands = len(counts), len(edges)
    first = 5 * sets
    for i in range(len(bid)):
        _sums_by_count(bid, bid_size, i, bids[i], counts, out, 0, 2 * sets)
        _sums_by_count(ask, ask_size, i, asks[i], counts, out, sets, 3 * sets)
        _imbalances(out, i, 0, sets, 4 * sets)
        covers[0, i] = covers[1, i] = NULL_INT8
        if bids[i] + asks[i] == 0:
            blank(out, 0, i)
        elif bids[i] == 0 or asks[i] == 0:
            blank(out, first, i)
        else:
            mid = (bid[i, 0] + ask[i, 0]) / 2.0
            covers[0, i] = _sums_by_band(bid, bid_size, i, bids[i], mid, -1.0, edges, out, first)
            covers[1, i] = _sums_by_band(ask, ask_size, i, asks[i], mid, 1.0, edges, out, first + bands)
            _imbalances(out, i, first, bands, first + 4 * bands)
            _imbalances(out, i, first + 2 * bands, bands, first + 5 * bands)


@kernel
def _imbalances(out: F64, i: int, base: int, count: int, to: int) -> None:
    """Write (bid - ask) / (bid + ask) of `count` bid columns from `base` on and the ask columns after them."""
    for j in range(count):
        qb, qa = out[base + j, i], out[base + count + j, i]
        out[to + j, i] = ratio(qb - qa, qb + qa)


@kernel
def _sums_by_count(price: F64, size: F64, i: int, levels: int, counts: I64, out: F64, base: int, notional: int) -> None:
    """Write the sums over the first K levels for every K; K beyond what is there takes what is there."""
    k, quantity, value = 0, 0.0, 0.0
    for j in range(len(counts)):
        while k < min(counts[j], levels):
            quantity += size[i, k]
            value += price[i, k] * size[i, k]
            k += 1
        out[base + j, i] = quantity
        out[notional + j, i] = value


@kernel
def _sums_by_band(
    price: F64, size: F64, i: int, levels: int, mid: float, sign: float, edges: F64, out: F64, base: int
) -> bool:
    """Write the size in every band and, two sides further on, up to its end.

    Returns whether the last level lies at or beyond the last edge.
    """
    bands, band, quantity, total, distance = len(edges), 0, 0.0, 0.0, 0.0
    for k in range(levels):
        distance = max(0.0, sign * (price[i, k] - mid) / mid * 1e4) + EDGE_TOLERANCE_BPS
        while band < bands and distance >= edges[band]:
            total += quantity
            out[base + band, i] = quantity
            out[base + 2 * bands + band, i] = total
            quantity = 0.0
            band += 1
        quantity += size[i, k]
    for rest in range(band, bands):
        total += quantity
        out[base + rest, i] = quantity
        out[base + 2 * bands + rest, i] = total
        quantity = 0.0
    return band == bands
