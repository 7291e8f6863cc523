"""The reader of cryptofeed's captures, on lines written by hand and on real ones."""

from collections import Counter
from pathlib import Path

import pytest

from daedalus.recordings.base import Unreadable
from daedalus.recordings.cryptofeed import Capture, read_cryptofeed, read_frames
from daedalus.shared.errors import CorruptError, NotFoundError

LINES = """wss://feed.example.com <-> 1618677816.8434298
wss://feed.example.com <- 1618677817.020616: {"type":"subscribe"}
1618677817.061845: {"type":"a: b <- c"}
1618677818: x
https://api.example.com/book?a=1&b=2 -> 1618677819.000000001: {"bids": []}

"""


def capture(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "EXAMPLE.ws.1.0"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_every_kind_of_line(tmp_path: Path) -> None:
    url, api = "wss://feed.example.com", "https://api.example.com/book?a=1&b=2"
    s = 10**9
    assert list(read_cryptofeed(capture(tmp_path, LINES))) == [
        Capture(line=1, received_ns=1618677816 * s + 843_429_800, kind="connected", url=url),
        Capture(line=2, received_ns=1618677817 * s + 20_616_000, kind="sent", url=url, text='{"type":"subscribe"}'),
        Capture(line=3, received_ns=1618677817 * s + 61_845_000, kind="received", text='{"type":"a: b <- c"}'),
        Capture(line=4, received_ns=1618677818 * s, kind="received", text="x"),
        Capture(line=5, received_ns=1618677819 * s + 1, kind="answered", url=api, text='{"bids": []}'),
    ]


def test_frames_are_what_was_received(tmp_path: Path) -> None:
    assert [text for _, text in read_frames(capture(tmp_path, LINES))] == ['{"type":"a: b <- c"}', "x"]


def test_a_line_of_no_form_costs_itself_alone(tmp_path: Path) -> None:
    found = list(read_cryptofeed(capture(tmp_path, "garbage\n1e9: x\n1.1234567890: x\n1618677818.5: ok\n")))
    assert [type(one) for one in found] == [Unreadable, Unreadable, Unreadable, Capture]
    assert found[0] == Unreadable(line=1, reason="no time where one is due", text="garbage")


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such recording"):
        list(read_cryptofeed(tmp_path / "none"))
    with pytest.raises(CorruptError, match="copy the file again"):
        list(read_cryptofeed(capture(tmp_path, b"1618677818.5: ok\n\xff\xfe\n")))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("COINBASE.ws.28.0", {"received": 9946, "sent": 3, "connected": 1}),
        ("KRAKEN.ws.50.0", {"received": 4321, "sent": 1, "connected": 1}),
        ("BITSTAMP.ws.1.0", {"received": 747, "sent": 20, "connected": 1}),
        ("BITSTAMP.http.0.0", {"answered": 10}),
        ("BINANCE_US.ws.1.0", {"received": 480, "connected": 1}),
        ("BINANCE_US.http.0.0", {"answered": 4}),
        ("OKX.ws.1.0", {"received": 410, "sent": 3, "connected": 1}),
    ],
)
def test_real_captures_are_read_to_the_last_line(recordings: Path, name: str, kinds: dict[str, int]) -> None:
    found = list(read_cryptofeed(recordings / "cryptofeed_ws" / name))
    assert Counter(one.kind for one in found if isinstance(one, Capture)) == kinds
    assert not [one for one in found if isinstance(one, Unreadable)]
    clocks = [one.received_ns for one in found if isinstance(one, Capture) and one.kind == "received"]
    assert clocks == sorted(clocks)
