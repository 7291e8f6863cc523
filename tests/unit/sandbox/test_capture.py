"""Captured frames as a source, and what the sandbox makes of products: on small captures written by hand."""

from pathlib import Path

import pytest

from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.instruments import Instrument, instrument_of, instruments, padded
from daedalus.sandbox.registry import PROTOCOLS
from daedalus.sandbox.scripted import ScriptedSource
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.sandbox.updates import BookSnapshot, LevelChanges, Recorded, TickerTick, TradeTick
from daedalus.sandbox.view import FIRST_ID, MarketView, TextBook
from daedalus.sandbox.windows import ChangeWindow, is_pushed_out, levels_moved
from daedalus.shared.errors import ConfigError

NS = 1_700_000_000_000_000_000
MS = 1_000_000


def depth(first: int, last: int, price: str, size: str) -> str:
    data = f'{{"e":"depthUpdate","E":1,"s":"XUSDT","U":{first},"u":{last},"b":[["{price}","{size}"]],"a":[]}}'
    return f'{{"stream":"xusdt@depth@100ms","data":{data}}}'


TRADE = (
    '{"stream":"xusdt@trade","data":{"e":"trade","E":1,"s":"XUSDT","t":5,"p":"9.5","q":"1","T":1700000000000,'
    '"m":true,"M":true}}'
)
ANSWER = '{"lastUpdateId":20,"bids":[["9.00","1.0"]],"asks":[["10.00","1.0"]]}'
#: One change older than the answer, one that reaches beyond it, both before it; then one more, and a trade.
LINES = [
    depth(11, 15, "8", "1"),
    depth(16, 22, "8.5", "2"),
    ANSWER,
    depth(23, 25, "9.00", "3"),
    TRADE,
    '{"stream":"xusdt@depth@100ms","data":{"e":"depthUpdate"}}',
    depth(26, 26, "nine", "1"),
    '{"stream":"xusdt@depth@100ms","data":"\udcff"}',
    '{"stream":3}',
]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "capture"
    text = "".join(f"{NS + index * MS} {line}\n" for index, line in enumerate(LINES)) + "garbage\n"
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


async def updates_of(source: CaptureSource) -> tuple[MarketView, list[object], list[int]]:
    feed = source.open()
    told: list[object] = []
    sizes = []
    async for batch in feed:
        sizes.append(len(batch.updates))
        for update in batch.updates:
            feed.view.apply(update)
            told.append(update)
    return feed.view, told, sizes


async def test_frames_are_kept_and_the_book_is_synced_by_the_rules(capture: Path) -> None:
    source = CaptureSource([capture], "binance-raw", "binance")
    assert (source.products, source.controls, source.unreadable) == (("XUSDT",), 0, 3)
    assert source.answers["XUSDT"].text.decode() == ANSWER
    view, told, sizes = await updates_of(source)
    assert [update.kind for update in told if isinstance(update, Recorded)] == [
        *("changes", "changes", "answer", "changes", "trades", "changes", "changes")
    ]
    assert sizes[0] == 3  # a batch ends with the answer, for the connection to wait there
    book = view.books["XUSDT"]
    # 8 was older than the answer, 8.5 reached beyond it.
    assert book.levels("bid") == [("9.00", "3"), ("8.5", "2")]
    assert book.update_id == 25
    assert [trade.maker_side for trade in view.trades["XUSDT"]] == ["buy"]


async def test_another_protocol_gets_what_they_say(capture: Path) -> None:
    source = CaptureSource([capture], "binance-raw", "kraken")
    view, told, _ = await updates_of(source)
    assert source.open().view.books["XUSDT"].levels("ask") == [("10.00", "1.0")]
    assert [type(update) for update in told] == [LevelChanges, LevelChanges, TradeTick, TickerTick]
    assert view.books["XUSDT"].update_id == FIRST_ID + 3
    assert told[-1].best_bid_size == "3"  # type: ignore[attr-defined]


async def test_files_side_by_side_are_merged_by_the_clock(tmp_path: Path, capture: Path) -> None:
    other = tmp_path / "other"
    other.write_text(f"{NS + MS // 2} {TRADE.replace('xusdt', 'yusdt')}\n")
    _, told, _ = await updates_of(CaptureSource([capture, other], "binance-raw", "binance"))
    assert [update.product for update in told if isinstance(update, Recorded)][:3] == ["XUSDT", "YUSDT", "XUSDT"]


def test_what_cannot_be_played_says_so(tmp_path: Path, capture: Path) -> None:
    with pytest.raises(ConfigError, match="speed 0"):
        CaptureSource([capture], "binance-raw", "binance", speed=0)
    empty = tmp_path / "empty"
    empty.write_text("garbage\n")
    with pytest.raises(ConfigError, match="no market data of binance in it"):
        CaptureSource([empty], "binance-raw", "binance")
    with pytest.raises(ConfigError, match="no known address"):
        CaptureSource([empty], "cryptofeed", "binance")


# Books and windows


def test_a_book_counts_its_states_unless_the_exchange_does() -> None:
    book = TextBook()
    book.replace(BookSnapshot("X", None, [("9", "1")], []))
    book.apply(LevelChanges("X", 1, [("bid", "8", "1")]))
    assert book.update_id == FIRST_ID + 2
    assert book.copy().update_id == FIRST_ID + 2
    book.apply(LevelChanges("X", 1, [], update_id=77))
    assert book.update_id == 77


def test_a_book_of_a_depth_forgets_what_is_pushed_out() -> None:
    book = TextBook()
    book.replace(BookSnapshot("X", None, [("9", "1"), ("8", "1")], [], depth=2))
    book.apply(LevelChanges("X", 1, [("bid", "8.5", "1")]))
    assert book.levels("bid") == [("9", "1"), ("8.5", "1")]
    assert book.levels("bid", 1) == [("9", "1")]
    copied = book.copy()
    copied.apply(LevelChanges("X", 1, [("bid", "9.5", "1")]))
    assert len(copied.levels("bid")) == 2


def test_windows_end_on_the_clock_and_keep_the_last_state() -> None:
    window = ChangeWindow(100)
    assert not window.is_over(10**9)
    window.add(LevelChanges("X", 1230, [("bid", "9", "1"), ("ask", "9.0", "2")]), 5)
    window.add(LevelChanges("X", 1299, [("bid", "9.0", "0")]), 6)
    assert not window.is_over(1299)
    assert window.is_over(1300)
    assert (window.first_id, window.last_id) == (5, 6)
    assert window.take() == [("bid", "9.0", "0"), ("ask", "9.0", "2")]
    assert not window.is_over(10**9)


def test_what_moved_in_a_top() -> None:
    before, after = [("9", "1"), ("8", "1")], [("9.0", "1"), ("8.5", "1")]
    assert levels_moved(before, after) == ([("9.0", "1"), ("8.5", "1")], [("8", "1")])
    assert is_pushed_out("bid", ("8", "1"), after, 2)
    assert not is_pushed_out("bid", ("8", "1"), after, 3)
    assert not is_pushed_out("ask", ("8", "1"), after, 2)


# Products


@pytest.mark.parametrize(
    ("product", "base", "quote", "kind", "expiry"),
    [
        ("BTC-USD", "BTC", "USD", "spot", ""),
        ("BTC/USD", "BTC", "USD", "spot", ""),
        ("BTCFDUSD", "BTC", "FDUSD", "spot", ""),
        ("BTCUSDT.usdm", "BTC", "USDT", "swap", ""),
        ("BTCUSD_PERP.coinm", "BTC", "USD", "swap", ""),
        ("BTCUSD_240927.coinm", "BTC", "USD", "future", "240927"),
        ("UNI-USD-SWAP", "UNI", "USD", "swap", ""),
        ("BTC-USD-220527", "BTC", "USD", "future", "220527"),
        ("USDT", "USDT", "USD", "spot", ""),
    ],
)
def test_names_tell_what_a_product_is(product: str, base: str, quote: str, kind: str, expiry: str) -> None:
    found = instrument_of(product, MarketView([product]))
    assert (found.base, found.quote, found.kind, found.expiry) == (base, quote, kind, expiry)


def test_grids_come_from_what_is_seen(capture: Path) -> None:
    (found,) = instruments(CaptureSource([capture], "binance-raw", "binance")).values()
    assert isinstance(found, Instrument)
    assert (found.price_step, found.size_step, found.price_digits) == ("0.1", "1", 2)
    (known,) = instruments(SyntheticSource(["DOGE-USD"])).values()
    assert (known.price_step, known.size_step) == ("0.00001", "0.00000001")
    assert padded("7", 0) == "7"


def test_looking_at_a_market_leaves_no_reader_behind() -> None:
    source = SyntheticSource(["DOGE-USD"])
    for name, path in (("binance", "/api/v3/exchangeInfo"), ("binance", "/api/v3/depth?symbol=DOGEUSD")):
        assert PROTOCOLS[name]().rest(path, source)
    assert PROTOCOLS["okx"]().rest("/api/v5/market/books?instId=DOGE-USD", source)
    assert PROTOCOLS["kraken"]().rest("/0/public/AssetPairs", source)
    assert not source.feeds


async def test_a_script_is_told_to_everybody() -> None:
    trades = [TradeTick("X-USD", time_us, str(time_us), "1", "1", "buy") for time_us in (5, 6)]
    source = ScriptedSource(["X-USD"], before=[BookSnapshot("X-USD", 1, [("9", "1")], [])], updates=trades)
    for _ in range(2):
        feed = source.open()
        assert (feed.time_us, feed.view.books["X-USD"].levels("bid")) == (5, [("9", "1")])
        assert [update async for batch in feed for update in batch.updates] == trades
