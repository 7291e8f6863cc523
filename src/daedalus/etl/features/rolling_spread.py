"""Shares of tight and wide spreads over time windows (feature catalogue, section 5)."""

import math

import numpy as np

from daedalus.etl.features.base import F64, I8, I64, NULL_INT8, Arrays, Block, Family, Field, Frame, Run
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.streaming import add, enter, ratio, window_fields, window_lengths_ns, window_sum
from daedalus.etl.features.windows import drive
from daedalus.shared.schemas import Column


def rolling_spread(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    dynamic = config.use_dynamic_spread_regime
    tight_bps, wide_bps = config.tight_spread_threshold * 1e4, config.wide_spread_threshold * 1e4
    # Summed, as 0 and 1: tight, wide, known; then the same of the regime.
    fields = window_fields(len(config.horizons), 6 if dynamic else 3)
    needs = ("spread_bps", "spread_regime") if dynamic else ("spread_bps",)
    run = _runner(window_lengths_ns(config.horizons), tight_bps, wide_bps, dynamic, fields)
    params = {"tight_bps": tight_bps, "wide_bps": wide_bps}
    doc = "shares of tight and wide spreads over time windows"
    columns, core = _columns(config, tight_bps, wide_bps), (("spread_regime_*",) if dynamic else ("*",))
    return Family("rolling_spread", 1, doc, columns, run, needs, fields, params, core, ("*",), replays=True)


def _columns(config: FeatureConfig, tight_bps: float, wide_bps: float) -> tuple[Column, ...]:
    templates = [
        ("spread_tight_frac_", f"share of rows with spread_bps <= {tight_bps:g}"),
        ("spread_wide_frac_", f"share of rows with spread_bps >= {wide_bps:g}"),
    ]
    if config.use_dynamic_spread_regime:
        templates += [
            ("spread_regime_tight_frac_", "share of rows with spread_regime -1"),
            ("spread_regime_wide_frac_", "share of rows with spread_regime +1"),
        ]
    return tuple(
        Column(f"{name}{w}s", "float64", "", f"{doc}; rows without one skipped; last {w} s")
        for name, doc in templates
        for w in config.horizons
    )


def _runner(lengths: I64, tight_bps: float, wide_bps: float, dynamic: bool, fields: tuple[Field, ...]) -> Run:
    none = np.empty(0, np.int8)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        spread = frame.floats("spread_bps")
        regime = frame.bytes("spread_regime") if dynamic else none

        def walk(start: int) -> int:
            arrays = [state[field.name] for field in fields]
            limits = (tight_bps, wide_bps)
            return frame.call(_rolling_spread, start, frame.ts, spread, regime, *limits, lengths, *arrays, out.f64)

        drive("rolling_spread", state, fields, frame.rows, walk)

    return run


@kernel
def _rolling_spread(
    start: int,
    ts: I64,
    spread: F64,
    regime: I8,
    tight_bps: float,
    wide_bps: float,
    lengths: I64,
    ring_ts: I64,
    ring: F64,
    head: I64,
    tails: I64,
    totals: F64,
    out: F64,
) -> int:
    windows, kinds = len(lengths), totals.shape[1] // 3
    for i in range(start, len(ts)):
        if enter(ts[i], lengths, ring_ts, ring, head, tails, totals) < 0:
            return i
        add(totals, 0, float(int(spread[i] <= tight_bps)))
        add(totals, 1, float(int(spread[i] >= wide_bps)))
        add(totals, 2, float(int(not math.isnan(spread[i]))))
        if kinds == 2:
            add(totals, 3, float(int(regime[i] == -1)))
            add(totals, 4, float(int(regime[i] == 1)))
            add(totals, 5, float(int(regime[i] != NULL_INT8)))
        for w in range(windows):
            oldest = tails[w] & (len(ring) - 1)
            for k in range(kinds):
                known = window_sum(totals, ring, oldest, 3 * k + 2)
                out[2 * k * windows + w, i] = ratio(window_sum(totals, ring, oldest, 3 * k), known)
                out[(2 * k + 1) * windows + w, i] = ratio(window_sum(totals, ring, oldest, 3 * k + 1), known)
    return len(ts)
