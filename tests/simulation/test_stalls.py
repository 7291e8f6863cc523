"""Streams that fall silent while their connection lives: had anew, entered only if something was missed, alone."""

import asyncio
from functools import partial

import polars as pl
import pytest

from daedalus.ingestion.collectors import coinbase_session
from daedalus.ingestion.collectors.coinbase_messages import LEVEL2, MATCHES, TICKER
from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.ingestion.collectors.pace import HostPace, Limits
from daedalus.sandbox.coinbase import CoinbaseProtocol, CoinbaseSession
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.sandbox.updates import LevelChanges, TickerTick, TradeTick
from daedalus.shared.clock import SystemClock
from daedalus.shared.errors import RefusedError
from daedalus.testing.invariants import Ledger, assert_books_are_true, assert_trades_are_whole
from daedalus.testing.lake import read_channel
from tests.simulation.scenes import Recorded, quick_pipeline, stop_after

PRODUCTS = ("BTC-USD", "ETH-USD")
WIRES = {LevelChanges: LEVEL2, TradeTick: MATCHES, TickerTick: TICKER}
QUICK = {"orderbook": 1.0, "trades": 1.0, "ticker": 1.0}


class Forgetful(CoinbaseProtocol):
    """Coinbase that forgets streams: it numbers nothing that it does not send, so only silence shows it.

    `silent` streams are not told of; of `deaf` ones subscriptions are not answered either.
    """

    def __init__(self):
        self.silent, self.deaf, self.asked, self.complaint = set(), set(), [], ""

    def session(self, path, view, time_us):
        return ForgetfulSession(self, view, time_us)


class ForgetfulSession(CoinbaseSession):
    def __init__(self, protocol, view, time_us):
        super().__init__(view, time_us)
        self.protocol = protocol

    def publish(self, update):
        if (update.product, WIRES[type(update)]) not in self.protocol.silent:
            yield from super().publish(update)

    def _subscribe(self, channel, product):
        self.protocol.asked.append((product, channel))
        if (product, channel) in self.protocol.deaf:
            self._channels[channel][product] = None
        else:
            yield from super()._subscribe(channel, product)

    def _refusal(self, request):
        return self.protocol.complaint or super()._refusal(request)


async def record(base, meddle, *, seconds=8.0, rate=100.0, timeouts=QUICK, symbols=PRODUCTS, **options):
    """Record while `meddle(protocol)` makes the exchange forget; return the server's statistics and the protocol."""
    protocol, clock = Forgetful(), SystemClock()
    async with SandboxServer(protocol, SyntheticSource(symbols, seed=8, rate=rate)) as server:
        collector = CoinbaseCollector(
            symbols=symbols,
            url=server.url,
            orderbook_interval_ms=0,
            stall_timeouts=timeouts,
            subscribe_timeout_seconds=0.5,
            pace=HostPace(Limits(100, 400), clock),
            **options,
        )
        pipeline = quick_pipeline(base, [collector])
        stop = asyncio.Event()
        meddling = asyncio.create_task(meddle(protocol))
        ending = asyncio.create_task(stop_after(stop, seconds, meddling.done))
        try:
            await pipeline.run(stop)
        finally:
            await meddling
            ending.cancel()
        return server.stats(), protocol


def stalls(base):
    rows = read_channel(base, "gaps").filter(pl.col("reason") == "stall")
    return {(symbol, channel) for symbol, channel in rows.select("symbol", "channel").rows()} if rows.height else set()


async def until(condition):
    """Wait for what the server is told."""
    while not condition():  # noqa: ASYNC110 (nobody tells when)
        await asyncio.sleep(0.05)


async def nothing(protocol):
    """Let the exchange be."""


async def book_never_answers(protocol):
    await asyncio.sleep(1)
    protocol.silent.add(("BTC-USD", LEVEL2))
    protocol.deaf.add(("BTC-USD", LEVEL2))
    await asyncio.sleep(5)
    protocol.silent.clear()
    protocol.deaf.clear()


def unheard(wire):
    async def until_asked_again(protocol):
        await asyncio.sleep(1)
        protocol.silent.add(("BTC-USD", wire))
        await until(lambda: protocol.asked.count(("BTC-USD", wire)) >= 2)
        protocol.silent.clear()

    return until_asked_again


async def trades_only_acknowledged(protocol):
    await asyncio.sleep(1)
    for streams in (protocol.silent, protocol.deaf):
        streams.add(("BTC-USD", MATCHES))
    await asyncio.sleep(5)
    protocol.silent.clear()
    protocol.deaf.clear()


async def first_book_is_late(protocol):
    streams = {("BTC-USD", LEVEL2)}
    protocol.silent |= streams
    protocol.deaf |= streams
    await asyncio.sleep(2.5)
    protocol.silent.clear()
    protocol.deaf.clear()


async def heartbeats_only(protocol):
    await asyncio.sleep(1)
    streams = {(product, wire) for product in PRODUCTS for wire in WIRES.values()}
    protocol.silent |= streams
    protocol.deaf |= streams
    await until(lambda: len(protocol.asked) >= 20)
    await asyncio.sleep(4)
    protocol.silent.clear()
    protocol.deaf.clear()


async def told_to_ask_less(protocol):
    protocol.complaint = "rate limit exceeded"
    await asyncio.sleep(1.5)
    protocol.complaint = ""


SCENES = {
    "heartbeats": partial(record, meddle=heartbeats_only, seconds=20),
    "never_answers": partial(record, meddle=book_never_answers, seconds=12, timeouts={"orderbook": 1.0}),
    # A book changes every 2.5 s or so, matches come once in minutes; each may be silent for a second.
    "quiet": partial(record, meddle=nothing, seconds=12, rate=0.4),
    "acknowledged": partial(record, meddle=trades_only_acknowledged, seconds=11, timeouts={"trades": 1.0}),
    "trades": partial(record, meddle=unheard(MATCHES), seconds=9, timeouts={"trades": 4.0}, rate=40.0),
    "told": partial(record, meddle=told_to_ask_less, seconds=7),
    "late": partial(record, meddle=first_book_is_late, seconds=7, timeouts={"orderbook": 60.0}),
    "book": partial(record, meddle=unheard(LEVEL2), seconds=6, timeouts={"orderbook": 1.0}),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coinbase_session, "TOO_MUCH_S", 1.0)
        return Recorded(tmp_path_factory.mktemp("stalls"), SCENES)


def test_a_book_that_never_answers_is_asked_for_again_and_hurts_no_other(recorded):
    (server, protocol), base = recorded.outcome("never_answers"), recorded.folder("never_answers")
    assert len(server.connections) == 1
    assert stalls(base) == {("BTC-USD", "l2"), ("BTC-USD", "orderbook")}
    assert protocol.asked.count(("BTC-USD", LEVEL2)) >= 4 and protocol.asked.count(("ETH-USD", LEVEL2)) == 1
    wholes = read_channel(base, "l2").filter((pl.col("symbol") == "BTC-USD") & pl.col("is_snapshot"))["collected_at"]
    for channel in ("l2", "orderbook"):
        clock = read_channel(base, channel).filter(pl.col("symbol") == "BTC-USD")["collected_at"]
        gaps = Ledger(base).intervals("coinbase", "BTC-USD", channel, clock)
        [(start, end)] = [gap for gap in gaps if 4e9 < gap[1] - gap[0] < 1e12]
        # The last that was heard may have been an empty update: no row, some us after the last one.
        assert start - clock.filter(clock <= start).max() < 1e9 and end == wholes.filter(wholes > start).min()
    assert_books_are_true(base, "coinbase", PRODUCTS)
    assert_trades_are_whole(base, "coinbase", PRODUCTS)


def test_a_book_that_had_changed_in_silence_is_entered_and_whole_again_at_once(recorded):
    (server, _), base = recorded.outcome("book"), recorded.folder("book")
    gaps = read_channel(base, "gaps").filter(pl.col("reason") == "stall")
    assert len(server.connections) == 1 and gaps.height == 2 == gaps["ended_at"].count()
    assert set(gaps["detail"]) == {"the book had changed while nothing came"}
    assert gaps.select((pl.col("ended_at") - pl.col("started_at")).min()).item() > 1e9
    assert_books_are_true(base, "coinbase", PRODUCTS)


def test_a_quiet_market_does_not_cry_wolf(recorded):
    (server, protocol), base = recorded.outcome("quiet"), recorded.folder("quiet")
    assert len(server.connections) == 1 and stalls(base) == set()
    assert Ledger(base).reasons.keys() == {"shutdown"}
    probes = [protocol.asked.count((product, MATCHES)) - 1 for product in PRODUCTS]
    assert max(probes) <= 4, "its patience has to grow"


def test_trades_missed_in_silence_are_recovered_and_entered(recorded):
    (server, _), base = recorded.outcome("trades"), recorded.folder("trades")
    assert len(server.connections) == 1 and stalls(base) == {("BTC-USD", "trades")}
    assert read_channel(base, "gaps").filter(pl.col("reason") == "stall")["ended_at"].null_count() == 0
    assert_trades_are_whole(base, "coinbase", PRODUCTS)
    trades = read_channel(base, "trades").filter(pl.col("symbol") == "BTC-USD")["trade_id"].cast(pl.Int64)
    assert len(trades) == trades.max() - trades.min() + 1


def test_an_acknowledgement_is_no_sign_of_life(recorded):
    recorded.outcome("acknowledged")
    base = recorded.folder("acknowledged")
    assert stalls(base) == {("BTC-USD", "trades")}
    clock = read_channel(base, "trades").filter(pl.col("symbol") == "BTC-USD")["collected_at"]
    gaps = Ledger(base).intervals("coinbase", "BTC-USD", "trades", clock)
    assert max(end - start for start, end in gaps if end < 2**62) > 4.5e9, gaps
    assert_trades_are_whole(base, "coinbase", PRODUCTS)


def test_a_first_book_that_does_not_come_is_entered(recorded):
    (server, protocol), base = recorded.outcome("late"), recorded.folder("late")
    assert len(server.connections) == 1 and stalls(base) == {("BTC-USD", "l2"), ("BTC-USD", "orderbook")}
    assert protocol.asked.count(("BTC-USD", LEVEL2)) >= 3
    assert_books_are_true(base, "coinbase", PRODUCTS)


def test_a_connection_with_nothing_but_heartbeats_is_replaced(recorded):
    (server, _), base = recorded.outcome("heartbeats"), recorded.folder("heartbeats")
    assert len(server.connections) >= 2
    details = read_channel(base, "gaps").filter(pl.col("reason") == "stall")["detail"].drop_nulls()
    assert any("signs of life" in text for text in details)
    assert_trades_are_whole(base, "coinbase", PRODUCTS)
    assert_books_are_true(base, "coinbase", PRODUCTS)


def test_being_told_to_ask_less_refuses_nothing(recorded):
    (server, _), base = recorded.outcome("told"), recorded.folder("told")
    assert 2 <= len(server.connections) <= 4
    details = read_channel(base, "gaps")["detail"].drop_nulls()
    assert any("limits this address" in text and "rate limit exceeded" in text for text in details)
    assert read_channel(base, "trades")["symbol"].n_unique() == 2


async def test_wrong_credentials_are_named_and_never_shown(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()

    async def meddle(protocol):
        protocol.complaint = "authentication failure"

    with pytest.raises(RefusedError) as caught:
        await record(tmp_path, meddle, api_key="organizations/secret-name", api_secret=pem)
    assert "authentication failure" in str(caught.value) and "api_secret" in str(caught.value)
    assert "secret-name" not in str(caught.value) and pem[40:60] not in str(caught.value)
    with pytest.raises(RefusedError, match="cannot sign") as caught:
        await record(tmp_path, nothing, api_key="name", api_secret="-----BEGIN PRIVATE KEY-----\nabc\n-----END")
    assert "abc" not in str(caught.value)
