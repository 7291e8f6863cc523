"""What trading against the book costs: average prices by levels and by notional (feature catalogue, section 3)."""

import math

import numpy as np

from daedalus.etl.features.base import F64, I64, Arrays, Block, Family, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.depth import level_sets
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import blank, ratio
from daedalus.shared.schemas import Column

SIDES = ("bid", "ask")


def cost(config: FeatureConfig) -> Family | None:
    """Declare the family; None when features are switched off."""
    if not config.compute_features:
        return None
    counts, notionals = level_sets(config), tuple(sorted(config.notionals))
    run = _runner(np.array(counts, np.int64), np.array(notionals, np.float64))
    return Family("cost", 1, "average prices and the cost of trading", _columns(counts, notionals), run)


def _columns(counts: tuple[int, ...], notionals: tuple[int, ...]) -> tuple[Column, ...]:
    columns = [
        Column(f"vwap_depth_{side}_n{k}", "float64", "quote", f"size-weighted price of the first {k} {side} levels")
        for side in SIDES
        for k in counts
    ]
    doc = "mid of the two, each weighted by the opposite side's size, first"
    columns += [Column(f"vwap_mid_n{k}", "float64", "quote", f"{doc} {k} levels") for k in counts]
    columns += [Column(f"vwap_mid_dev_bps_n{k}", "float64", "bps", f"vwap_mid_n{k} relative to mid") for k in counts]
    thin = "null if the book is too thin"
    columns += [
        Column(f"fill_price_{way}_{n}", "float64", "quote", f"average price to {way} {n} quote units; {thin}")
        for way in ("sell", "buy")
        for n in notionals
    ]
    columns += [
        Column(f"slippage_{way}_bps_{n}", "float64", "bps", f"cost of that fill_price against mid; {thin}")
        for way in ("sell", "buy")
        for n in notionals
    ]
    columns += [
        Column(f"round_trip_bps_{n}", "float64", "bps", "slippage of buying and selling (XLM, Gomber et al.)")
        for n in notionals
    ]
    columns += [
        Column(f"fillable_notional_{side}", "float64", "quote", f"price * size of all kept {side} levels")
        for side in SIDES
    ]
    return tuple(columns)


def _runner(counts: I64, notionals: F64) -> Run:
    def run(frame: Frame, state: Arrays, out: Block) -> None:
        sides = (frame.bid_price, frame.bid_size, frame.ask_price, frame.ask_size)
        _cost(*sides, frame.bid_levels, frame.ask_levels, counts, notionals, out.f64)

    return run


@kernel
def _cost(
    bid: F64,
    bid_size: F64,
    ask: F64,
    ask_size: F64,
    bids: I64,
    asks: I64,
    counts: I64,
    notionals: F64,
    out: F64,
) -> None:
    sets, fills = len(counts), len(notionals)
    quantity = np.zeros((2, sets))
    fill = 4 * sets
    last = fill + 5 * fills
    for i in range(len(bid)):
        if bids[i] + asks[i] == 0:
            blank(out, 0, i)
            continue
        mid = (bid[i, 0] + ask[i, 0]) / 2.0
        _vwap(bid, bid_size, i, bids[i], counts, quantity, 0, out, 0)
        _vwap(ask, ask_size, i, asks[i], counts, quantity, 1, out, sets)
        for j in range(sets):
            qb, qa = quantity[0, j], quantity[1, j]
            middle = ratio(out[j, i] * qa + out[sets + j, i] * qb, qb + qa)
            out[2 * sets + j, i] = middle
            out[3 * sets + j, i] = (middle - mid) / mid * 1e4
        out[last, i] = _fill(bid, bid_size, i, bids[i], notionals, out, fill)
        out[last + 1, i] = _fill(ask, ask_size, i, asks[i], notionals, out, fill + fills)
        for j in range(fills):
            sell = (mid - out[fill + j, i]) / mid * 1e4
            buy = (out[fill + fills + j, i] - mid) / mid * 1e4
            out[fill + 2 * fills + j, i] = sell
            out[fill + 3 * fills + j, i] = buy
            out[fill + 4 * fills + j, i] = buy + sell


@kernel
def _vwap(
    price: F64, size: F64, i: int, levels: int, counts: I64, quantity: F64, side: int, out: F64, base: int
) -> None:
    """Write the average price of the first K levels for every K, and their size to `quantity`."""
    k, total, value = 0, 0.0, 0.0
    for j in range(len(counts)):
        while k < min(counts[j], levels):
            total += size[i, k]
            value += price[i, k] * size[i, k]
            k += 1
        quantity[side, j] = total
        out[base + j, i] = ratio(value, total)


@kernel
def _fill(price: F64, size: F64, i: int, levels: int, notionals: F64, out: F64, base: int) -> float:
    """Write the average price of taking each notional from a side and return what the whole side is worth."""
    done, spent, bought = 0, 0.0, 0.0
    for k in range(levels):
        value = price[i, k] * size[i, k]
        while done < len(notionals) and spent + value >= notionals[done]:
            rest = (notionals[done] - spent) / price[i, k]
            out[base + done, i] = ratio(notionals[done], bought + rest)
            done += 1
        spent += value
        bought += size[i, k]
    for j in range(done, len(notionals)):
        out[base + j, i] = math.nan
    return spent
