"""Playing a recording: everything once, in order, as recorded."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daedalus.sandbox.recording import RecordingSource
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.updates import LevelChanges, TickerTick, TradeTick, Update
from daedalus.sandbox.view import TextBook
from daedalus.shared.clock import parse_rfc3339_us
from daedalus.shared.errors import ConfigError, CorruptError
from tests.unit.recordings.test_coinbase_exchange import BAD_PRICE, ERROR, HEADER, LAST, MATCH, SNAPSHOT, UPDATE
from tests.unit.sandbox.client import Client, connect, has
from tests.unit.sandbox.test_server import book_of


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recording of one change, two trades and what surrounds them."""
    later = MATCH.replace("41.0", "42.0").replace("05.045000", "05.445000")
    path = tmp_path / "small.csv"
    path.write_text("\n".join([HEADER, SNAPSHOT, LAST, ERROR, UPDATE, BAD_PRICE, MATCH, later, LAST]) + "\n")
    return path


@pytest.fixture(scope="module")
def session(recordings: Path) -> RecordingSource:
    (path,) = (recordings / "coinbase_exchange_l2_20180417").glob("*.csv.gz")
    return RecordingSource(path)


async def played(source: RecordingSource) -> list[Update]:
    feed = source.open()
    return [update async for batch in feed for update in batch.updates]


async def test_what_was_before_is_in_the_view(small: Path) -> None:
    source = RecordingSource(small)
    assert (source.products, source.controls, source.unreadable) == (("X-USD",), 1, 1)
    view = source.open().view
    assert view.books["X-USD"].levels("bid") == [("99.9", "0.5")]
    assert [trade.trade_id for trade in view.trades["X-USD"]] == ["40"]
    assert view.tickers["X-USD"].best_ask == "101"
    updates = await played(source)
    assert [type(update) for update in updates] == [LevelChanges, TradeTick, TickerTick, TradeTick, TickerTick]


async def test_each_playback_is_its_own(small: Path) -> None:
    source = RecordingSource(small)
    assert await played(source) == await played(source)


async def test_pace_is_recorded_time(small: Path) -> None:
    feed = RecordingSource(small, speed=4.0).open()
    times = [(batch.time_us - feed.time_us, len(batch.updates)) async for batch in feed]
    assert times[0][1] == 1  # only the first update is due at once
    assert sum(count for _, count in times) == 5
    assert len([count for _, count in times if count]) >= 2


async def test_a_playback_that_is_closed_ends(small: Path) -> None:
    feed = RecordingSource(small, speed=0.001).open()
    async for batch in feed:
        assert len(batch.updates) == 1
        feed.close()


def test_what_cannot_be_played_says_so(tmp_path: Path, small: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text(HEADER + "\n" + ERROR + "\n")
    with pytest.raises(ConfigError, match="nothing to play"):
        RecordingSource(empty)
    empty.write_text("a,b\n")
    with pytest.raises(CorruptError, match="no column"):
        RecordingSource(empty)
    with pytest.raises(ConfigError, match="speed 0"):
        RecordingSource(small, speed=0)


@pytest.mark.parametrize("channel", ["level2", "market_trades"])
async def test_one_channel_alone_gets_the_recording_too(small: Path, channel: str) -> None:
    async with SandboxServer("coinbase", RecordingSource(small), close_at_end=True) as server:
        async with connect(server.url) as client:
            await client.say(channel, "X-USD")
            await client.rest()
            assert client.close_code == 1000
        sent = server.stats().connections[0].sent
        assert (sent.changes, sent.trades) == ((1, 0) if channel == "level2" else (0, 2))
        assert server.stats().connections[0].market == "ended"


async def test_the_connection_stays_open_after_the_end(small: Path) -> None:
    async with SandboxServer("coinbase", RecordingSource(small)) as server, connect(server.url) as client:
        for channel in ("level2", "market_trades", "heartbeats"):
            await client.say(channel, "X-USD")
        await client.until(lambda f: len(client.of("market_trades", "update")) == 2)
        assert await client.until(has("heartbeats"))
        await client.say("level2", "X-USD")
        book = await client.until(has("l2_data", "snapshot"))
        assert book is not None
        assert [u["price_level"] for u in book["events"][0]["updates"]] == ["101", "102.50"]  # the bid was deleted


async def test_the_real_session_over_a_socket(session: RecordingSource, recordings: Path) -> None:
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/gdax_20180417"]
    async with SandboxServer("coinbase", session, close_at_end=True) as server:
        async with connect(server.url) as client:
            for channel in ("level2", "market_trades", "ticker"):
                await client.say(channel, "BTC-USD")
            await client.rest()
        assert client.gaps() == []
        check_changes(client, session, golden)
        check_trades(client, session, golden)
        sent = server.stats().connections[0].sent
        assert (sent.changes, sent.trades) == (golden["by_type"]["l2update"], golden["by_type"]["match"])
        assert sent.tickers == golden["by_type"]["match"] + 1


def check_changes(client: Client, session: RecordingSource, golden: dict[str, Any]) -> None:
    """Every change exactly once, in order, text and time as recorded; the book ends as it should."""
    wanted = [
        (u.time_us, "offer" if side == "ask" else side, price, size)
        for u in session.updates
        if isinstance(u, LevelChanges)
        for side, price, size in u.changes
    ]
    got = [
        (parse_rfc3339_us(u["event_time"]), u["side"], u["price_level"], u["new_quantity"])
        for f in client.of("l2_data", "update")
        for u in f["events"][0]["updates"]
    ]
    assert got == wanted
    book: TextBook = book_of(client.of("l2_data"))
    assert top_five(book.levels("bid")) == top_five(golden["final_best_bids"])
    assert top_five(book.levels("ask")) == top_five(golden["final_best_asks"])
    assert [len(book.levels("bid")), len(book.levels("ask"))] == golden["final_levels"]


def top_five(levels: Any) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in levels[:5]]


def check_trades(client: Client, session: RecordingSource, golden: dict[str, Any]) -> None:
    """Every match exactly once with its maker's side, newest first in a frame; the past one apart."""
    (past,) = client.of("market_trades", "snapshot")
    assert len(past["events"][0]["trades"]) == 1
    frames = [f["events"][0]["trades"] for f in client.of("market_trades", "update")]
    got = [(t["trade_id"], t["price"], t["size"], t["side"].lower()) for frame in frames for t in frame[::-1]]
    wanted = [(u.trade_id, u.price, u.size, u.maker_side) for u in session.updates if isinstance(u, TradeTick)]
    assert got == wanted
    assert sum(Decimal(size) for _, _, size, _ in got) == Decimal(str(golden["match_qty"]))
    windows = [{parse_rfc3339_us(t["time"]) or 0 for t in frame} for frame in frames]
    assert all(max(times) - min(times) < 250_000 for times in windows)
