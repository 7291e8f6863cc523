"""Intensities of a bivariate Hawkes process with given parameters (feature catalogue, section 9).

lambda_a = mu_a + sum over b of alpha_ab * sum over trades of side b of exp(-beta * elapsed seconds). Parameters are to
be fitted on the past, elsewhere; without beta both columns are null.
"""

import math

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.trade_rows import PLACE
from daedalus.shared.schemas import Column

_SIDES = ("buy", "sell")


def hawkes(config: FeatureConfig) -> Family | None:
    """Declare the family; None when stateful features are switched off."""
    if not (config.compute_features and config.enable_stateful):
        return None
    columns = tuple(
        Column(f"hawkes_lambda_{side}", "float64", "1/s", f"intensity of aggressive {side}s; null without hawkes_beta")
        for side in _SIDES
    )
    fields = (Field("sums", FLOAT, (2,)), Field("time", INT, (1,)))
    beta = config.hawkes_beta
    mu, alpha = np.array(config.hawkes_mu), np.array(config.hawkes_alpha)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        if beta is None:
            out.f64[:] = math.nan
            return
        trades = (frame.trades.ts, frame.deals[PLACE["side"]], frame.visible)
        _hawkes(frame.ts, *trades, mu, alpha, beta, state["sums"], state["time"], out.f64)

    params = {"mu": config.hawkes_mu, "alpha": config.hawkes_alpha, "beta": beta}
    return Family("hawkes", 1, "self- and cross-excited trades", columns, run, ("trade_rows",), fields, params)


@kernel
def _hawkes(
    ts: I64, trade_ts: I64, side: F64, visible: I64, mu: F64, alpha: F64, beta: float, sums: F64, time: I64, out: F64
) -> None:
    done = 0
    for i in range(len(ts)):
        while done < visible[i]:
            sums *= math.exp(-beta * (trade_ts[done] - time[0]) / 1e9)
            time[0] = trade_ts[done]
            if side[done] != 0.0:
                sums[0 if side[done] > 0.0 else 1] += 1.0
            done += 1
        since = math.exp(-beta * (ts[i] - time[0]) / 1e9)
        for a in range(2):
            out[a, i] = mu[a] + (alpha[2 * a] * sums[0] + alpha[2 * a + 1] * sums[1]) * since
