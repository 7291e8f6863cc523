"""Look-ups of fields and markets: whatever is asked of whatever, the answer is CCXT's."""

import ccxt.pro
import pytest
from ccxt.base.exchange import Exchange
from hypothesis import given
from hypothesis import strategies as st

from daedalus.ingestion.collectors.ccxt_lookups import QuickLookups

NAMES = sorted(name for name, kind in vars(QuickLookups).items() if isinstance(kind, staticmethod))
KEYS = st.sampled_from(["a", "b", "c", 0, 1, 5, None, True]) | st.just([])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "1.5", "1e999", "-0", "\uff17"])
)
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("abc"), v), max_leaves=6
)


class Spare(dict):
    """Has an answer for what it does not hold."""

    def __missing__(self, key):
        return "spare"


THEIRS = Exchange()


@given(VALUES | VALUES.map(lambda value: Spare(a=value)), KEYS, KEYS, VALUES)
def test_results_are_those_of_ccxt(where, key, other, default):
    for name in NAMES:
        asked = (where, key, other) if name.endswith("_2") else (where, key)
        for arguments in (asked, (*asked, default)):
            ours, theirs = getattr(QuickLookups, name)(*arguments), getattr(THEIRS, name)(*arguments)
            assert (type(ours), repr(ours)) == (type(theirs), repr(theirs))


def test_no_exchange_has_look_ups_of_its_own():
    for exchange_id in ccxt.pro.exchanges:
        of_exchange = getattr(ccxt.pro, exchange_id)
        assert [name for name in NAMES if getattr(of_exchange, name) is not getattr(Exchange, name)] == []


OWN_MARKETS = [x for x in ccxt.pro.exchanges if getattr(ccxt.pro, x).safe_market is not Exchange.safe_market]
IDS = ["BTC-USD", "BTC-USD-220325-194000-P", "C-BTC-90000-010125", "BTC_USDT-20220325-1-C", "two", "unknown", None]


@pytest.mark.parametrize("exchange_id", ["kraken", *OWN_MARKETS])
def test_markets_are_those_of_the_exchanges_own_class(exchange_id):
    theirs = getattr(ccxt.pro, exchange_id)
    exchange = type(exchange_id, (QuickLookups, theirs), {})()
    for is_loaded in (False, True):
        if is_loaded:
            kinds = {"spot": False, "swap": False, "future": False, "option": False, "contract": False}
            named = [*((name, name, "spot") for name in IDS[:4]), ("two", "T/S", "spot"), ("two", "T/S:S", "swap")]
            made = [{**kinds, "id": i, "symbol": s, "type": t, t: True, "base": "T", "quote": "S"} for i, s, t in named]
            exchange.set_markets([exchange.safe_market_structure(market) for market in made])
        other = {"symbol": "given", "type": "swap"}
        for market_id in IDS:
            for more in ((), (other,), (None, "-"), (None, None, "swap"), (other, "_", "spot")):
                assert outcome(exchange.safe_market, market_id, *more) == outcome(
                    theirs.safe_market, exchange, market_id, *more
                )


def outcome(ask, *arguments):
    try:
        return ask(*arguments)
    except Exception as error:
        return type(error), str(error)
