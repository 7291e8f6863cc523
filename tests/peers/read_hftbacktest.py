"""Load an export with hftbacktest, run through it, and print what its two processors see at the end.

Run as ``python read_hftbacktest.py FILE TICK LOT`` by an interpreter that has hftbacktest.
"""

import json
import sys

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from hftbacktest.data import validate_event_order
from hftbacktest.types import EXCH_EVENT, LOCAL_EVENT, event_dtype

path, tick, lot = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
data = np.load(path)["data"]
assert data.dtype == event_dtype, data.dtype
validate_event_order(data)
# Past the last event there is no book any more: the last one once again, a second later.
after = data[-1:].copy()
after["exch_ts"] += 1_000_000_000
after["local_ts"] += 1_000_000_000
whole = np.concatenate([data, after])
asset = (
    BacktestAsset()
    .data(whole)
    .linear_asset(1.0)
    .constant_order_latency(0, 0)
    .risk_adverse_queue_model()
    .no_partial_fill_exchange()
    .trading_value_fee_model(0.0, 0.0)
    .tick_size(tick)
    .lot_size(lot)
)
market = HashMapMarketDepthBacktest([asset])
last = int(data["local_ts"][data["ev"] & LOCAL_EVENT > 0][-1])
assert market.elapse(1) == 0
assert market.elapse(last - market.current_timestamp) == 0
depth = market.depth(0)
print(
    json.dumps(
        {
            "events": len(data),
            "late": int(np.sum(data["ev"] & EXCH_EVENT == 0)),
            "least_delay": int((data["local_ts"] - data["exch_ts"]).min()),
            "bid": [depth.best_bid, depth.best_bid_qty],
            "ask": [depth.best_ask, depth.best_ask_qty],
        }
    )
)
