"""Where the sandbox does not speak: a session that is fed live and the player of its frames make the same rows."""

import asyncio
import json

import pytest

from daedalus.ingestion.collectors.base import OpenGaps
from daedalus.ingestion.collectors.ccxt_opening import Opening, read_opening
from daedalus.ingestion.collectors.ccxt_settings import Carried
from daedalus.ingestion.collectors.watchdog import Watchdog
from tests.unit.ingestion.ccxt_offline import Offline
from tests.unit.ingestion.test_ccxt_venues import bybit, level2, market_trades

START = 1_787_612_486_000_000_000


class Steps:
    """A clock that is told the receive clock of each frame."""

    now = START

    def now_ns(self):
        return self.now

    def monotonic(self):
        return self.now / 1e9

    async def sleep(self, seconds):
        await asyncio.Event().wait()


def events_live(exchange_id, markets, channels, frames):
    """The session of the unit tests, on a clock of steps; also what it would write as its opening."""
    of, clock = Offline(exchange_id, markets, channels), Steps()
    of.session._clock = of.session.tap._clock = clock
    events = []
    for number, frame in enumerate(frames):
        clock.now = START + number * 1_000_000
        events += of.feed(frame)
    calls = list({id(call): call for call in of.client.calls.values()}.values())
    described = {symbol: of.exchange.markets[symbol] for symbol in markets}
    depth = of.session._venue.depth(20)
    return events, Opening(exchange_id, calls, depth, described), of.collector._settings


async def events_played(opening, settings, frames):
    from daedalus.ingestion.collectors.ccxt_offline import FramePlayer

    player = FramePlayer(settings, Carried(OpenGaps(settings.exchange), Watchdog({})), opening)
    await player.begin(START)
    events = []
    for number, frame in enumerate(frames):
        events += await player.feed("s:0", frame, START + number * 1_000_000)
    await player.close()
    return events


def bybit_trade(number):
    trade = {"T": 1787612486096, "s": "BTCUSDT", "S": "Sell", "v": "0.1", "p": "60000", "i": f"t{number}", "BT": False}
    return json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1787612486096, "data": [trade]})


CASES = {
    "coinbase": (
        {"BTC/USD": "BTC-USD"},
        [
            level2(0, ("bid", "100", "1"), ("offer", "101", "2"), kind="snapshot"),
            level2(1, ("bid", "99", "3")),
            market_trades(2, [1, 2], kind="snapshot"),
            market_trades(3, [3, 4]),
            "not json at all, and far too long to be a pong or the like" + "." * 20,
            level2(7, ("bid", "98", "1")),
            level2(8, ("bid", "100", "1"), kind="snapshot"),
            level2(9, ("offer", "102", "1")),
        ],
    ),
    "bybit": (
        {"BTC/USDT": "BTCUSDT"},
        [bybit(1, "snapshot"), bybit(2), bybit_trade(1), bybit_trade(1), bybit(5), bybit(6, "snapshot"), bybit(7)],
    ),
}


@pytest.mark.parametrize("exchange_id", CASES)
async def test_frames_fed_live_and_played_make_the_same_events(exchange_id):
    markets, frames = CASES[exchange_id]
    channels = {"watchTrades": list(markets), "watchOrderBook": list(markets)}
    live, opening, settings = events_live(exchange_id, markets, channels, frames)
    assert {type(event).__name__ for event in live} == {"Trade", "BookSnapshot", "BookDelta", "Gap"}
    played = await events_played(read_opening(opening.text()), settings, frames)
    assert played == live
