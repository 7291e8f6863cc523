"""The readers of captured frames, on lines written by hand and on real files."""

import gzip
import json
import lzma
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from daedalus.recordings.base import Capture, Unreadable
from daedalus.recordings.registry import CAPTURES, FORMATS, capture_reader, guess_format
from daedalus.shared.errors import ConfigError, CorruptError, NotFoundError

FRAME = '{"stream":"xusdt@trade","data":{"e":"trade"}}'
ANSWER = '{"lastUpdateId":7,"bids":[["1","2"]],"asks":[]}'
NS = 1_723_161_253_937_085_768


def read(form: str, path: Path, content: str | bytes) -> list[Capture | Unreadable]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(capture_reader(form)(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_binance_frames_and_answers(tmp_path: Path, pack: object) -> None:
    lines = f"{NS} {FRAME}\n{NS + 1} {ANSWER}\n"
    found = read("binance-raw", tmp_path / "x", pack(lines.encode()))  # type: ignore[operator]
    assert found == [
        Capture(line=1, received_ns=NS, kind="received", text=FRAME),
        Capture(line=2, received_ns=NS + 1, kind="answered", text=ANSWER),
    ]


def test_bitstamp_events_keep_their_text(tmp_path: Path) -> None:
    text = 'trade {"price": 236.47, "amount": 1.7885566900000001, "id": 8111042}'
    (found,) = read("bitstamp-log", tmp_path / "x", f"1430438404518 {text}\n")
    assert found == Capture(line=1, received_ns=1_430_438_404_518_000_000, kind="received", text=text)


def test_json_frames_take_the_exchange_s_time(tmp_path: Path) -> None:
    lines = [
        '{"channel":"heartbeat"}',
        '{"channel":"book","data":[{"timestamp":"2026-08-24T22:21:57.110183Z"}]}',
        '{"channel":"heartbeat"}',
        '{"topic":"orderbook.50.X","ts":1787612486096,"data":{}}',
        '{"timestamp":"soon"}',
    ]
    found = read("json-frames", tmp_path / "x", "\n".join(lines))
    clocks = [one.received_ns for one in found]
    book = 1_787_610_117_110_183_000
    assert clocks == [0, book, book, 1_787_612_486_096_000_000, 1_787_612_486_096_000_000]
    assert [one.text for one in found] == lines  # type: ignore[union-attr]


def test_kraken_books_get_their_zeros_back(tmp_path: Path) -> None:
    level = {"price": 29431.0, "qty": 4.0}
    book = {"symbol": "BTC/USD", "bids": [level], "asks": [], "checksum": 1}
    update = {**book, "timestamp": "2023-07-30T15:29:58.343415Z"}
    frames = [
        {"channel": "book", "type": kind, "data": [data]} for kind, data in (("snapshot", book), ("update", update))
    ]
    found = read("kraken-book", tmp_path / "x", json.dumps({"init": frames[0], "updates": [frames[1], {"no": 1}]}))
    exact = '{"price":29431.0,"qty":4.00000000}'
    assert isinstance(found[0], Capture)
    assert found[0].text == (
        f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/USD","bids":[{exact}],"asks":[],"checksum":1}}]}}'
    )
    assert found[0].received_ns == found[1].received_ns == 1_690_730_998_343_415_000
    assert isinstance(found[2], Unreadable)


@pytest.mark.parametrize("form", ["binance-raw", "bitstamp-log", "json-frames"])
def test_a_bad_line_costs_itself_alone(tmp_path: Path, form: str) -> None:
    good = {"binance-raw": f"{NS} {FRAME}", "bitstamp-log": "1430438404518 trade {}", "json-frames": FRAME}[form]
    found = read(form, tmp_path / "x", f"{good}\nwhat\n\n{good}\n")
    assert [type(one) for one in found] == [Capture, Unreadable, Capture]
    assert [one.line for one in found] == [1, 2, 4]
    assert found[1].text == "what"  # type: ignore[union-attr]


@pytest.mark.parametrize("form", CAPTURES)
def test_missing_files_and_broken_ones(tmp_path: Path, form: str) -> None:
    with pytest.raises(NotFoundError, match=r"none.*no such recording"):
        list(capture_reader(form)(tmp_path / "none"))
    if form in ("cryptofeed", "kraken-book"):
        with pytest.raises(CorruptError, match="copy the file again"):
            read(form, tmp_path / "x", b"\xff\xfe\n")
    else:
        (found,) = read(form, tmp_path / "x", b"\xff\xfe\n")
        assert isinstance(found, Unreadable)


def test_a_file_that_breaks_off_yields_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    whole = gzip.compress(f"{NS} {FRAME}\n".encode() * 50_000, compresslevel=0)
    path.write_bytes(whole[: len(whole) // 2])
    found = []
    with pytest.raises(CorruptError):
        for one in capture_reader("binance-raw")(path):
            found.append(one)
    assert len(found) > 10_000


def test_formats_are_guessed_and_named() -> None:
    with pytest.raises(ConfigError, match="did you mean binance-raw"):
        capture_reader("binance_raw")
    assert not set(CAPTURES) & set(FORMATS)


@pytest.mark.parametrize(
    ("name", "form", "kinds"),
    [
        ("binance_raw/spot_btcusdt_20240808.gz", "binance-raw", {"received": 41248, "answered": 1}),
        ("binance_raw/usdm_btcusdt_20240808.gz", "binance-raw", {"received": 93953, "answered": 1}),
        ("kraken_book/orderbook-v2.json", "kraken-book", {"received": 510}),
        ("kraken_book/kraken_book.jsonl", "json-frames", {"received": 8}),
        ("bybit_v5/bybit_orderbook.jsonl", "json-frames", {"received": 10}),
        ("cryptofeed_ws/OKX.ws.1.0", "cryptofeed", {"received": 410, "sent": 3, "connected": 1}),
    ],
)
def test_real_files_are_read_to_the_last_line(recordings: Path, name: str, form: str, kinds: dict[str, int]) -> None:
    path = recordings / name
    assert guess_format(path) == form
    assert guess_format(recordings / "coinbase_exchange_l2_20180417" / "raw_mongo_input.6dc276ab.csv.gz") in FORMATS
    found = list(capture_reader(form)(path))
    assert Counter(one.kind for one in found if isinstance(one, Capture)) == kinds
    clocks = [one.received_ns for one in found if isinstance(one, Capture) and one.received_ns]
    assert clocks == sorted(clocks)


def test_the_real_bitstamp_log(recordings: Path) -> None:
    golden = json.loads((recordings / "GOLDEN.json").read_text())["dev/bitstamp"]
    (path,) = (recordings / "bitstamp_btcusd_20150501").glob("*.xz")
    assert guess_format(path) == "bitstamp-log"
    events: Counter[str] = Counter()
    quantity = Decimal(0)
    for one in capture_reader("bitstamp-log")(path):
        assert isinstance(one, Capture)
        event, _, body = one.text.partition(" ")
        events[event] += 1
        if event == "trade":
            quantity += Decimal(repr(json.loads(body)["amount"]))
    assert events == golden["by_type"]
    assert abs(quantity - Decimal(golden["trade_qty"])) < Decimal("1e-6")
