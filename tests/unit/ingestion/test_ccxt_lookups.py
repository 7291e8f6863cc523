"""Look-ups of a message's fields: whatever is asked of whatever, the answer is CCXT's."""

import ccxt.pro
from ccxt.base.exchange import Exchange
from hypothesis import given
from hypothesis import strategies as st

from daedalus.ingestion.collectors.ccxt_lookups import QuickLookups

NAMES = sorted(name for name in vars(QuickLookups) if name.startswith("safe_"))
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
