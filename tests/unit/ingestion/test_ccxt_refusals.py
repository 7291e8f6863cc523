"""What an exchange does not give: named, waited for, and never at the cost of the others."""

import asyncio
import subprocess
import sys

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from daedalus.ingestion.collectors.ccxt_collector import CcxtCollector
from daedalus.shared.errors import ConfigError, RefusedError, TransientCollectorError
from daedalus.shared.events import BookSnapshot
from tests.unit.ingestion.okx_server import OkxServer, collector, of_kind, record, snapshot, trades, update

BTC = {"watchOrderBook": ["BTC/USDT"]}


def script_of(*frames):
    """Send these frames to whoever subscribes to the first."""

    async def script(ws, arg):
        if arg["instId"] == "BTC-USDT":
            for frame in frames:
                await ws.send_str(frame)

    return script


# -- what cannot be had ------------------------------------------------------------------------------------------------


async def test_wrong_symbols_are_named_and_the_others_go_on():
    async def script(ws, arg):
        await ws.send_str(trades(arg["instId"], [1]))

    with capture_logs() as logs:
        async with OkxServer(script).running() as server:
            of = collector(server, channels={"watchTrades": ["BTC-USDT", "ETH/USDT"], "watchBidsAsks": ["*/EUR"]})
            events = await record(of, lambda e: e)
    assert [e.symbol for e in events] == ["ETH/USDT"] and list(of.streams()) == [("ETH/USDT", "trades")]
    unknown = [(e["symbol"], e["did_you_mean"]) for e in logs if e["event"] == "symbol_unknown"]
    assert unknown == [("BTC-USDT", "BTC/USDT"), ("*/EUR", None)]


async def test_a_symbol_that_the_exchange_refuses_is_left_out_and_the_others_go_on():
    async def script(ws, arg):
        for n in range(200):
            await ws.send_str(trades(arg["instId"], [n]))
            await asyncio.sleep(0.05)

    async with OkxServer(script, ("BTC-USDT", "ETH-USDT", "SOL-USDT")).running() as server:
        real = server._answer

        async def answer(ws, request):
            server._markets = ("BTC-USDT", "ETH-USDT")
            await real(ws, request)

        server._answer = answer
        of = collector(server, channels={"watchTrades": ["*"]})
        with capture_logs() as logs:
            events = await record(of, lambda e: [x for x in logs if x["event"] == "symbol_refused"])
    assert {e.symbol for e in events} <= {"BTC/USDT", "ETH/USDT"} and events
    (refused,) = [e for e in logs if e["event"] == "symbol_refused"]
    assert refused["symbol"] == "SOL/USDT" and "doesn't exist" in refused["exchange_said"]
    assert {symbol for symbol, _ in of.streams()} == {"BTC/USDT", "ETH/USDT"}


async def test_nothing_but_unknown_symbols_is_refused_with_the_reason():
    async with OkxServer(script_of()).running() as server:
        with pytest.raises(RefusedError, match=r"okx has nothing .*BTC-USD \(did you mean BTC/USDT\?\)"):
            await record(collector(server, channels={"watchTrades": ["BTC-USD"]}), lambda e: False)


async def test_bad_credentials_name_the_exchange_and_never_the_secret():
    class Refusing(OkxServer):
        async def rest(self, request):
            from aiohttp import web

            key = request.headers.get("OK-ACCESS-KEY", "none")
            return web.json_response({"code": "50111", "msg": f"Invalid OK-ACCESS-KEY {key}"}, status=401)

    async with Refusing(script_of()).running() as server:
        secrets = {"api_key": "key-1234", "api_secret": "secret-5678", "password": "phrase-9"}
        with pytest.raises(RefusedError) as refused:
            await record(collector(server, channels=BTC, **secrets), lambda e: False)
    words = str(refused.value)
    assert "okx refused the credentials" in words and "50111" in words
    assert not any(secret in words for secret in secrets.values())


@pytest.mark.parametrize(
    ("exchange_id", "says"),
    [("okxx", "did you mean okx"), ("bitso", "not watch it"), ("zzzzzz", "CCXT knows no such exchange")],
)
def test_an_unknown_exchange_is_refused_at_once(exchange_id, says):
    with pytest.raises(ConfigError, match=says):
        CcxtCollector(exchange_id, channels=BTC)


def test_the_old_name_of_coinbase_stays():
    of = CcxtCollector("coinbaseadvanced", channels=BTC)
    assert of.exchange == "coinbaseadvanced" and of._settings.exchange_id == "coinbase"
    assert CcxtCollector("coinbaseadvanced", channels=BTC, exchange="coinbase").exchange == "coinbase"


def test_without_ccxt_exchanges_ccxt_is_not_loaded():
    code = (
        "import sys, daedalus.ingestion.collectors.registry, daedalus.ingestion.collectors.ccxt_collector\n"
        "print('ccxt' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


# -- who asks to wait, and who cannot be reached -----------------------------------------------------------------------


class Limited(OkxServer):
    """Refuses the first request of a kind, and asks to wait."""

    def __init__(self, kind):
        super().__init__(script_of(snapshot("BTC-USDT")))
        self.kind, self.refused = kind, 0

    async def rest(self, request):
        if self.kind == "rest" and not self.refused:
            self.refused += 1
            refusal = {"code": "50011", "msg": "Too Many Requests"}
            return web.json_response(refusal, status=429, headers={"Retry-After": "7"})
        return await super().rest(request)

    async def websocket(self, request):
        if self.kind == "websocket" and not self.refused:
            self.refused += 1
            return web.Response(status=429, headers={"Retry-After": "7"}, text="slow down")
        return await super().websocket(request)


@pytest.mark.parametrize("kind", ["rest", "websocket"])
async def test_a_ban_is_waited_for_as_long_as_the_exchange_asks_and_by_all(kind):
    async with Limited(kind).running() as server:
        of = collector(server, channels=BTC)
        with pytest.raises(TransientCollectorError, match=r"until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC") as banned:
            await record(of, lambda e: False)
        assert banned.value.retry_after == 7.0 and "okx" in str(banned.value)
        # Nobody connects to the host before.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await of._pace.connects.take()


@pytest.mark.parametrize("lost", ["rest_url", "ws_url"])
async def test_a_name_that_does_not_resolve_is_told_from_other_failures(lost):
    async with OkxServer(script_of(snapshot("BTC-USDT"))).running() as server:
        address = {"rest_url": "https://no-such-host.invalid", "ws_url": "wss://no-such-host.invalid"}[lost]
        of = collector(server, channels=BTC, **{lost: address})
        with pytest.raises(TransientCollectorError, match=r"DNS: no-such-host\.invalid does not resolve"):
            await record(of, lambda e: False)


# -- times that cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ts", ["1700000000", "1700000000000000000", "99999999999999", "0", ""])
async def test_a_time_that_cannot_be_in_milliseconds_is_null_and_the_row_stays(ts):
    frames = [snapshot("BTC-USDT").replace('"ts": "', f'"ts": "{ts}", "was": "'), update("BTC-USDT", 2)]
    async with OkxServer(script_of(*frames)).running() as server:
        of = collector(server, channels=BTC)
        events = await record(of, lambda e: len(of_kind(e, BookSnapshot)) >= 2)
    first, second = of_kind(events, BookSnapshot)
    assert first.timestamp is None and second.timestamp is not None
    reading = of.skew.reading()
    assert reading is None or abs(reading.offset_ms) < 60_000
