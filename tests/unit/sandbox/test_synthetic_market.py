"""The synthetic market behaves as markets do, and the same way every time."""

import itertools
import statistics
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import pytest

from daedalus.sandbox.products import PRODUCTS
from daedalus.sandbox.synthetic import SyntheticMarket
from daedalus.sandbox.synthetic_market import ProductMarket
from daedalus.sandbox.updates import LevelChanges, TickerTick, TradeTick, Update
from daedalus.sandbox.view import TextBook
from daedalus.shared.errors import ConfigError

SECONDS = 900
START_US = 1_700_000_000_000_000
Touch = tuple[float, float, float, float]


@dataclass
class Observed:
    """What a trader sees: the touch after every change."""

    updates: list[Update]
    touches: list[tuple[int, Touch]] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)


def observe(product: str, seed: int = 1) -> Observed:
    market = ProductMarket(PRODUCTS[product], Random(f"{seed}/{product}"), START_US)
    list(market.advance(0.0))
    book = TextBook()
    book.replace(market.snapshot())
    seen = Observed(list(market.advance(SECONDS)))
    for update in seen.updates:
        if isinstance(update, LevelChanges):
            book.apply(update)
            bid, ask = book.best("bid"), book.best("ask")
            assert bid is not None
            assert ask is not None
            seen.touches.append((update.time_us, (float(bid[0]), float(bid[1]), float(ask[0]), float(ask[1]))))
            if len(seen.touches) % 1000 == 0:
                seen.levels += [len(book.levels("bid")), len(book.levels("ask"))]
    assert book.levels("bid") == list(market.snapshot().bids)
    assert book.levels("ask") == list(market.snapshot().asks)
    return seen


@pytest.fixture(scope="module", params=["BTC-USD", "ETH-USD", "SOL-USD"])
def seen(request: pytest.FixtureRequest) -> Observed:
    return observe(request.param)


def flow(before: Touch, after: Touch) -> float:
    """Order flow imbalance of one change (Cont, Kukanov and Stoikov 2014, eq. 10)."""
    bid0, bid_size0, ask0, ask_size0 = before
    bid1, bid_size1, ask1, ask_size1 = after
    bids = (bid_size1 if bid1 >= bid0 else 0.0) - (bid_size0 if bid1 <= bid0 else 0.0)
    asks = (ask_size1 if ask1 <= ask0 else 0.0) - (ask_size0 if ask1 >= ask0 else 0.0)
    return bids - asks


def mid(touch: Touch) -> float:
    return (touch[0] + touch[2]) / 2


def test_never_crossed(seen: Observed) -> None:
    assert all(touch[0] < touch[2] for _, touch in seen.touches)


def test_times_never_step_back(seen: Observed) -> None:
    times = [update.time_us for update in seen.updates]
    assert times == sorted(times)


def test_rates_are_as_asked(seen: Observed) -> None:
    changes = sum(len(u.changes) for u in seen.updates if isinstance(u, LevelChanges))
    trades = sum(isinstance(u, TradeTick) for u in seen.updates)
    assert 16 < changes / SECONDS < 25
    assert 1.2 < trades / SECONDS < 3.2
    assert trades == sum(isinstance(u, TickerTick) for u in seen.updates)


def test_depth_and_spread_vary(seen: Observed) -> None:
    assert all(100 <= count <= 300 for count in seen.levels)
    assert len(set(seen.levels)) > 3
    spreads = sorted(touch[2] - touch[0] for _, touch in seen.touches)
    assert spreads[len(spreads) * 9 // 10] > 1.5 * spreads[len(spreads) // 2]
    assert spreads[-1] > 3 * spreads[len(spreads) // 2]


def test_trades_cluster(seen: Observed) -> None:
    per_second = Counter((u.time_us - START_US) // 1_000_000 for u in seen.updates if isinstance(u, TradeTick))
    counts = [per_second[second] for second in range(SECONDS)]
    assert statistics.pvariance(counts) > 2 * statistics.fmean(counts)  # 1 would be a Poisson process
    assert statistics.correlation(counts[:-1], counts[1:]) > 0.1


def test_order_flow_moves_the_price(seen: Observed) -> None:
    flows: Counter[int] = Counter()
    mids: dict[int, float] = {}
    for (_, before), (time_us, after) in itertools.pairwise(seen.touches):
        window = time_us // 10_000_000
        flows[window] += flow(before, after)  # type: ignore[assignment]
        mids[window] = mid(after)
    both = [(flows[w], mids[w] - mids[w - 1]) for w in mids if w - 1 in mids]
    assert statistics.correlation(*zip(*both, strict=True)) > 0.3


def test_a_longer_queue_tells_the_next_move(seen: Observed) -> None:
    agree = moves = 0
    for (_, before), (_, after) in itertools.pairwise(seen.touches):
        if mid(after) != mid(before):
            moves += 1
            agree += (before[1] > before[3]) == (mid(after) > mid(before))
    assert agree / moves > 0.53


def test_prices_and_sizes_stay_on_their_grids(seen: Observed) -> None:
    for update in seen.updates:
        if isinstance(update, LevelChanges):
            decimals = PRODUCTS[update.product].decimals
            for _, price, size in update.changes:
                assert -int(Decimal(price).as_tuple().exponent) <= decimals
                assert Decimal(price) > 0
                assert -int(Decimal(size).as_tuple().exponent) <= 8
                assert Decimal(size) >= 0


def test_trades_number_on_and_take_both_sides(seen: Observed) -> None:
    trades = [u for u in seen.updates if isinstance(u, TradeTick)]
    ids = [int(trade.trade_id) for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert 0.3 < sum(trade.maker_side == "buy" for trade in trades) / len(trades) < 0.7


def test_a_seed_is_a_market_however_time_is_cut() -> None:
    whole = SyntheticMarket(["BTC-USD", "SOL-USD"], 7, START_US)
    cut = SyntheticMarket(["BTC-USD", "SOL-USD"], 7, START_US)
    until = START_US + 20_000_000
    pieces = [cut.advance(time_us) for time_us in (*range(START_US, until, 37_123), until)]
    assert whole.advance(until) == list(itertools.chain(*pieces))
    other = SyntheticMarket(["BTC-USD", "SOL-USD"], 8, START_US)
    assert other.advance(until) != whole.advance(until + 1)


def test_a_product_does_not_depend_on_its_neighbours() -> None:
    alone = SyntheticMarket(["ETH-USD"], 3, START_US).advance(START_US + 10_000_000)
    among = SyntheticMarket(["BTC-USD", "ETH-USD"], 3, START_US).advance(START_US + 10_000_000)
    assert alone == [update for update in among if update.product == "ETH-USD"]


def test_the_start_has_a_past() -> None:
    market = SyntheticMarket(["BTC-USD"], 1, START_US)
    trades = market.view.trades["BTC-USD"]
    assert len(trades) == 50
    assert all(trade.time_us <= START_US for trade in trades)


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_product_trades(product: str) -> None:
    market = SyntheticMarket([product], 1, START_US)
    updates = market.advance(START_US + 60_000_000)
    assert {type(update) for update in updates} == {LevelChanges, TradeTick, TickerTick}


def test_an_unknown_product_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean BTC-USD"):
        SyntheticMarket(["BTC-USDT"], 1, START_US)
    with pytest.raises(ConfigError, match="no products"):
        SyntheticMarket([], 1, START_US)
    with pytest.raises(ConfigError, match="rate 0"):
        SyntheticMarket(["BTC-USD"], 1, START_US, rate=0)
