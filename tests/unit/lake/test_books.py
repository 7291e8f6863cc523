"""Books rebuilt from `l2`: what a naive rebuild gives, nothing between a gap and the next snapshot, any start."""

import random
from pathlib import Path

import polars as pl
import pytest

import daedalus
from daedalus.lake import books as books_module
from daedalus.shared.errors import ConfigError
from tests.unit.lake.bronze import HOUR, T0, S, delta, gap, write_events

WHOLE = (("bid", 99.0, 1.0), ("bid", 98.0, 2.0), ("ask", 101.0, 1.0), ("ask", 102.0, 2.0))


def tops(frame: pl.DataFrame) -> list[tuple[int, list[tuple[float, float]], list[tuple[float, float]]]]:
    sides = [[[(x["price"], x["size"]) for x in row] for row in frame[side].to_list()] for side in ("bids", "asks")]
    return list(zip(((frame["ts"] - T0) // S).to_list(), *sides, strict=True))


def random_deltas(count: int, *, seed: int = 1, step: int = S):  # type: ignore[no-untyped-def]
    rng = random.Random(seed)
    made = []
    for number in range(count):
        rows = [
            (
                side,
                float(rng.randrange(90, 100) if side == "bid" else rng.randrange(100, 110)),
                rng.choice((0.0, 1.5, 2.5)),
            )
            for side in (rng.choice(("bid", "ask")) for _ in range(rng.randrange(1, 5)))
        ]
        made.append(delta(T0 + number * step, *rows, whole=number == 0 or rng.random() < 0.02, nonce=number))
    return made


def naive(deltas, depth: int):  # type: ignore[no-untyped-def]
    """Return (bids, asks) after every delta, from dicts sorted anew each time."""
    from daedalus.shared.events import unpack_changes

    sides: dict[str, dict[float, float]] = {"bid": {}, "ask": {}}
    for event in deltas:
        if event.is_snapshot:
            sides = {"bid": {}, "ask": {}}
        for _, side, price, size in unpack_changes(event.changes):
            sides[side].pop(price, None)
            if size:
                sides[side][price] = size
        yield sorted(sides["bid"].items(), reverse=True)[:depth], sorted(sides["ask"].items())[:depth]


@pytest.mark.parametrize("depth", [1, 3, None])
def test_a_book_after_every_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int | None) -> None:
    monkeypatch.setattr(books_module, "FRAME_ROWS", 50)
    deltas = random_deltas(300, step=20 * S)  # over two hours
    write_events(tmp_path, deltas)
    frames = list(daedalus.open_lake(tmp_path).books("BTC/USD", depth=depth))
    assert [frame.height for frame in frames] == [50] * 6
    rows = tops(pl.concat(frames))
    assert [row[1:] for row in rows] == list(naive(deltas, depth or 1000))
    assert [row[0] for row in rows] == [20 * n for n in range(300)]


def test_nothing_between_a_gap_and_the_next_snapshot(tmp_path: Path) -> None:
    events = [
        delta(T0, *WHOLE, whole=True, nonce=1),
        delta(T0 + S, ("bid", 99.0, 5.0), nonce=2),
        gap(T0 + 3 * S, T0 + S, None),
        delta(T0 + 4 * S, ("bid", 99.0, 6.0), nonce=4),  # of a book with a hole
        gap(T0 + 6 * S, T0 + S, T0 + 6 * S),
        delta(T0 + 6 * S, ("bid", 97.0, 1.0), ("ask", 103.0, 1.0), whole=True, nonce=6),
        delta(T0 + 8 * S, ("ask", 103.0, 0.0), nonce=7),
    ]
    write_events(tmp_path, events)
    lake = daedalus.open_lake(tmp_path)
    assert [row[0] for row in tops(lake.books("BTC-USD").collect())] == [0, 1, 6, 8]
    grid = tops(lake.books("BTC-USD", every="1s").collect())
    assert [row[0] for row in grid] == [0, 1, 6, 7, 8]
    assert grid[2][1:] == grid[3][1:] == ([(97.0, 1.0)], [(103.0, 1.0)])
    assert grid[4][1:] == ([(97.0, 1.0)], [])


def test_a_snapshot_inside_a_gap_does_not_end_it(tmp_path: Path) -> None:
    events = [
        delta(T0, *WHOLE, whole=True, nonce=1),
        delta(T0 + 2 * S, *WHOLE, whole=True, nonce=3),
        gap(T0 + 3 * S, T0 + S, T0 + 3 * S, "backpressure"),
        delta(T0 + 4 * S, ("bid", 99.0, 6.0), nonce=4),
        delta(T0 + 5 * S, *WHOLE, whole=True, nonce=5),
    ]
    write_events(tmp_path, events)
    assert [row[0] for row in tops(daedalus.open_lake(tmp_path).books("BTC-USD").collect())] == [0, 5]


def test_what_the_ledger_says_of_other_channels_and_of_all(tmp_path: Path) -> None:
    events = [
        delta(T0, *WHOLE, whole=True, nonce=1),
        gap(T0 + S, T0 + S, T0 + S, channel="trades"),
        gap(T0 + S, T0 + S, T0 + S, "parse_error", channel="ALL"),
        delta(T0 + 2 * S, ("bid", 99.0, 6.0), nonce=2),
        gap(T0 + 3 * S, T0 + 2 * S, T0 + 3 * S, channel="ALL"),
        delta(T0 + 4 * S, ("bid", 99.0, 7.0), nonce=3),
    ]
    write_events(tmp_path, events)
    assert [row[0] for row in tops(daedalus.open_lake(tmp_path).books("BTC-USD").collect())] == [0, 2]


@pytest.mark.parametrize("every", [None, "10s", "7s"])
def test_a_range_is_a_slice_of_the_whole(tmp_path: Path, every: str | None) -> None:
    write_events(tmp_path, random_deltas(500, step=30 * S, seed=3))
    lake = daedalus.open_lake(tmp_path)
    whole = lake.books("BTC-USD", depth=5, every=every).collect()
    for first, last in ((0, 1), (17, 3000), (3601, 3603), (7200, 14_000)):
        start, end = T0 + first * S, T0 + last * S
        part = lake.books("BTC-USD", start, end, depth=5, every=every).collect()
        assert part.equals(whole.filter(pl.col("ts").is_between(start, end, closed="left"))), (first, last)


def test_reading_begins_at_the_snapshot_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = [delta(T0 + n * HOUR // 2, *WHOLE, whole=n in (0, 5), nonce=n) for n in range(10)]
    write_events(tmp_path, hours)
    read: list[int] = []
    real = books_module.Rebuild.feed
    monkeypatch.setattr(books_module.Rebuild, "feed", lambda self, d: (read.append(d.nonce), real(self, d))[1])
    daedalus.open_lake(tmp_path).books("BTC-USD", T0 + 4 * HOUR, T0 + 4 * HOUR + S).collect()
    assert read == [4, 5, 6, 7, 8]


def test_a_snapshot_longer_than_a_chunk_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daedalus.storage.segments.CHUNK_ROWS", 4)
    deep = [("bid", 100.0 - n, 1.0) for n in range(1, 30)] + [("ask", 100.0 + n, 1.0) for n in range(1, 30)]
    later = delta(T0 + S, ("bid", 99.0, 5.0), ("ask", 101.0, 5.0), nonce=2)
    write_events(tmp_path, [delta(T0, *deep, whole=True, nonce=1), later])
    lake = daedalus.open_lake(tmp_path)
    assert lake.books("BTC-USD", depth=None).collect()["bids"].list.len().to_list() == [29, 29]
    assert list(lake.replay()) == [delta(T0, *deep, whole=True, nonce=1), later]


def test_one_market_is_needed(tmp_path: Path) -> None:
    write_events(tmp_path, random_deltas(3))
    write_events(tmp_path, random_deltas(3), source="again")
    lake = daedalus.open_lake(tmp_path)
    with pytest.raises(ConfigError, match=r"l2 has several: .* of source again, .*open_lake\(source=\)"):
        lake.books("BTC-USD")
    with pytest.raises(ConfigError, match=r"nothing in l2 matches symbol ETH-USD. There are"):
        lake.books("ETH/USD")
    with pytest.raises(ConfigError, match="depth 0"):
        lake.books("BTC-USD", depth=0)
    assert daedalus.open_lake(tmp_path, source="again").books("BTC-USD").collect().height == 3
    assert repr(daedalus.open_lake(tmp_path, source="again").books("BTC-USD", every="5s")) == (
        "Books of coinbase BTC-USD, 20 levels a side, every 5 s: iterate over frames, or .collect()"
    )
