"""Exports: the documented layouts, checked with NumPy and PyArrow, and by the programs themselves where they are."""

import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import daedalus
from daedalus.cli.main import app, run
from daedalus.lake.export.hftbacktest import BUY, CLEAR, DEPTH, EVENT, EXCHANGE, LOCAL, SELL, SNAPSHOT, TRADE
from daedalus.lake.export.merging import by_clock
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import BookDelta, BookSnapshot, Event, Trade, pack_changes, pack_levels
from tests.conftest import ROOT
from tests.unit.lake.bronze import T0, S, delta, gap, write_events

MS = 10**6


def change(at: int, price: float, size: float, late_ms: int = 5, nonce: int = 0) -> BookDelta:
    packed = pack_changes([((at - late_ms * MS) // 1000, "bid", price, size)])
    return BookDelta(collected_at=at, exchange="coinbase", symbol="BTC-USD", nonce=nonce, changes=packed)


def deal(at: int, number: int, side: str | None = "buy", late_ms: int = 5) -> Trade:
    return Trade(
        collected_at=at,
        exchange="coinbase",
        symbol="BTC-USD",
        timestamp=(at - late_ms * MS) // 1000,
        trade_id=str(number),
        side=side,  # type: ignore[arg-type]
        price=100.25,
        amount=0.00000001,
    )


def session() -> list[Event]:
    """Return a snapshot, changes and trades of which one was overtaken, a gap, and what came in it and after."""
    return [
        delta(T0, ("bid", 100.0, 1.5), ("ask", 100.5, 2.0), whole=True, nonce=1),
        change(T0 + S, 100.0, 2.0, nonce=2),
        deal(T0 + S + 50 * MS, 1),
        change(T0 + S + 60 * MS, 99.5, 1.0, late_ms=40, nonce=3),
        gap(T0 + 2 * S, T0 + 2 * S, T0 + 3 * S),
        change(T0 + 2 * S + 1, 1.0, 1.0, nonce=4),
        delta(T0 + 3 * S, ("bid", 101.0, 1.0), ("ask", 102.0, 1.0), whole=True, nonce=5),
        deal(T0 + 4 * S, 2, "sell"),
        deal(T0 + 4 * S, 3, None),
    ]


def events_of(base: Path, **options: object) -> np.ndarray:
    path = base / "out.npz"
    count = daedalus.open_lake(base).export("hftbacktest", path, symbol="BTC/USD", **options)  # type: ignore[arg-type]
    with np.load(path) as packed:
        events = packed["data"]
    assert len(events) == count and events.dtype == EVENT and [p.name for p in base.glob("out*")] == ["out.npz"]
    return events


def assert_ordered(events: np.ndarray) -> None:
    for flag, clock in ((EXCHANGE, "exch_ts"), (LOCAL, "local_ts")):
        assert (np.diff(events[clock][(events["ev"] & np.uint64(flag)) > 0]) >= 0).all(), clock
    assert (events["local_ts"] >= events["exch_ts"]).all()


def test_hftbacktest_events(tmp_path: Path) -> None:
    write_events(tmp_path, session())
    events = events_of(tmp_path)
    assert_ordered(events)
    kinds = [int(ev) & 0xFF for ev in events["ev"]]
    assert kinds == [
        CLEAR,
        CLEAR,
        SNAPSHOT,
        SNAPSHOT,
        DEPTH,
        DEPTH,
        TRADE,
        DEPTH,
        *[CLEAR] * 4,
        SNAPSHOT,
        SNAPSHOT,
        TRADE,
        TRADE,
    ]
    overtaken = events[[5, 7]]
    assert overtaken["px"].tolist() == [99.5, 99.5]
    assert [int(ev) & (EXCHANGE | LOCAL) for ev in overtaken["ev"]] == [EXCHANGE, LOCAL]
    assert [int(ev) & (BUY | SELL) for ev in events["ev"][-2:]] == [SELL, 0]
    assert np.isinf(events["px"][[0, 1]]).all() and events["qty"][4] == 2.0


def test_a_clock_that_is_behind_is_put_forward(tmp_path: Path) -> None:
    behind = [change(T0 + n * S, 100.0, n + 1.0, late_ms=-1000 + n, nonce=n) for n in range(1, 5)]
    write_events(tmp_path, [delta(T0, ("bid", 100.0, 1.0), ("ask", 101.0, 1.0), whole=True, nonce=0), *behind])
    events = events_of(tmp_path)
    assert_ordered(events)
    changes = events[(events["ev"] & np.uint64(0xFF)) == DEPTH]
    assert ((changes["local_ts"] - changes["exch_ts"]) // MS).tolist() == [0, 1, 2, 3]


def test_a_range_begins_with_the_book_as_it_was(tmp_path: Path) -> None:
    write_events(tmp_path, session())
    events = events_of(tmp_path, start=T0 + S + 10 * MS, end=T0 + S + 60 * MS)
    assert [int(ev) & 0xFF for ev in events["ev"]] == [CLEAR, CLEAR, SNAPSHOT, SNAPSHOT, TRADE]
    assert events[["px", "qty"]][2:4].tolist() == [(100.0, 2.0), (100.5, 2.0)]
    assert_ordered(events)


def test_many_late_events_stay_in_order_in_small_pieces(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    late = rng.integers(0, 3000, 400)
    events: list[Event] = [delta(T0, ("bid", 100.0, 1.0), ("ask", 101.0, 1.0), whole=True, nonce=0)]
    events += [change(T0 + 4 * S + n * 20 * MS, 100.0, n + 1.0, int(ms), n) for n, ms in enumerate(late)]
    events += [deal(T0 + 4 * S + n * 50 * MS, n, late_ms=int(ms)) for n, ms in enumerate(late[:150])]
    write_events(tmp_path, sorted(events, key=lambda event: event.collected_at))
    found = events_of(tmp_path)
    assert_ordered(found)
    for flag in (EXCHANGE, LOCAL):
        mine = found[(found["ev"] & np.uint64(flag)) > 0]
        assert sorted(mine["qty"][(mine["ev"] & np.uint64(0xFF)) == DEPTH]) == [n + 1.0 for n in range(400)]
        assert len(mine) == 4 + 400 + 150


def test_merging_puts_the_first_source_first_at_one_instant() -> None:
    def arrays(name: int, *pieces: list[int]) -> list[np.ndarray]:
        return [np.array([(t, name) for t in piece], [("t", "i8"), ("of", "i8")]) for piece in pieces]

    sources = [arrays(0, [1, 2], [2, 2, 5]), arrays(1, [2, 2, 3], [5])]
    merged = np.concatenate(list(by_clock([iter(source) for source in sources], "t")))
    assert merged.tolist() == [(1, 0), (2, 0), (2, 0), (2, 0), (2, 1), (2, 1), (3, 1), (5, 0), (5, 1)]


def number(raw: bytes) -> Decimal:
    return Decimal(int.from_bytes(raw, "little")) / 10**16


def test_nautilus_catalog(tmp_path: Path) -> None:
    write_events(tmp_path, session())
    catalog = tmp_path / "catalog"
    lake = daedalus.open_lake(tmp_path)
    assert lake.export("nautilus", catalog, symbol="BTC-USD") == 12
    files = {path.parent.parent.name: path for path in sorted(catalog.rglob("*.parquet"))}
    assert set(files) == {"order_book_delta", "trade_tick", "currency_pair"}
    deltas, trades = (pq.read_table(files[name]) for name in ("order_book_delta", "trade_tick"))
    head = {b"instrument_id": b"BTC-USD.COINBASE", b"price_precision": b"2", b"size_precision": b"8"}
    assert deltas.schema.metadata == trades.schema.metadata == head
    assert deltas["action"].to_pylist() == [4, 1, 1, 2, 2, 4, 4, 1, 1]
    assert deltas["flags"].to_pylist() == [32, 32, 160, 128, 128, 128, 32, 32, 160]
    assert [number(raw) for raw in deltas["price"].to_pylist()[1:3]] == [Decimal("100"), Decimal("100.5")]
    assert number(trades["price"][0].as_py()) == Decimal("100.25")
    assert number(trades["size"][0].as_py()) == Decimal("0.00000001")
    assert trades["aggressor_side"].to_pylist() == [1, 2, 0]
    assert files["trade_tick"].name == ("2025-06-19T14-00-01-050000000Z_2025-06-19T14-00-04-000000000Z.parquet")
    (pair,) = pq.read_table(files["currency_pair"]).to_pylist()
    assert (pair["base_currency"], pair["quote_currency"], pair["price_increment"]) == ("BTC", "USD", "0.01")
    before = {path: path.read_bytes() for path in files.values()}
    lake.export("nautilus", catalog, symbol="BTC-USD")
    assert {path: path.read_bytes() for path in catalog.rglob("*.parquet")} == before
    with pytest.raises(ConfigError, match="overlaps with what is exported"):
        lake.export("nautilus", catalog, symbol="BTC-USD", start=T0 + S)
    assert not list(catalog.rglob("*.tmp"))


def test_plain_files(tmp_path: Path) -> None:
    book = BookSnapshot(
        collected_at=T0, exchange="coinbase", symbol="BTC-USD", bids=pack_levels([(1.0, 2.0)]), asks=pack_levels([])
    )
    write_events(tmp_path, [book, *session()])
    lake = daedalus.open_lake(tmp_path)
    lake.export("csv", tmp_path / "t.csv", symbol="BTC/USD")
    rows = pl.read_csv(tmp_path / "t.csv")
    assert rows["price"].to_list() == [100.25] * 3 and rows["capture_ts"][0] == "2025-06-19T14:00:01.050000Z"
    lake.export("arrow", tmp_path / "l2.arrow", table="l2", end=T0 + 3 * S)
    assert pl.read_ipc(tmp_path / "l2.arrow").equals(lake.scan("l2", end=T0 + 3 * S).collect())
    lake.export("csv", tmp_path / "o.csv", table="orderbook")
    levels = pl.read_csv(tmp_path / "o.csv").row(0, named=True)
    assert (levels["bid_price_l0"], levels["bid_size_l0"], levels["ask_price_l0"]) == (1.0, 2.0, None)


def test_what_cannot_be_exported_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_events(tmp_path, [deal(T0, 1)])
    lake = daedalus.open_lake(tmp_path)
    with pytest.raises(ConfigError, match="hftbacktest needs l2"):
        lake.export("hftbacktest", tmp_path / "x.npz", symbol="BTC/USD")
    with pytest.raises(ConfigError, match="no export format 'xls'"):
        lake.export("xls", tmp_path / "x")
    with pytest.raises(ConfigError, match="'BTC' is no pair"):
        lake.export("nautilus", tmp_path / "c", symbol="BTC/USD", pair="BTC")
    old = tmp_path / "old.csv"
    old.write_text("old")
    args = ["export", "--base-dir", str(tmp_path), "--format"]
    for words, code in (
        (["csv", "--symbol", "DOGE", "--output", str(old)], 2),
        (["csv", "--output", str(tmp_path)], 2),
        (["csv", "--output", str(tmp_path / "no" / "t.csv")], 1),
    ):
        with pytest.raises(SystemExit) as end:
            run(lambda words=words: app([*args, *words], standalone_mode=True))
        assert end.value.code == code, capsys.readouterr().err
    assert old.read_text() == "old" and not list(tmp_path.glob("*.tmp"))
    done = CliRunner().invoke(app, [*args, "csv", "--output", str(old)])
    assert done.exit_code == 0 and old.read_text().startswith("collected_at,")


@pytest.mark.skipif("DAEDALUS_PEERS_PYTHON" not in os.environ, reason="DAEDALUS_PEERS_PYTHON names no interpreter")
def test_the_programs_themselves_read_it(tmp_path: Path) -> None:
    write_events(tmp_path, session())
    lake = daedalus.open_lake(tmp_path)
    lake.export("hftbacktest", tmp_path / "x.npz", symbol="BTC/USD")
    lake.export("nautilus", tmp_path / "catalog", symbol="BTC/USD")

    def told(script: str, *words: object) -> dict[str, object]:
        command = [os.environ["DAEDALUS_PEERS_PYTHON"], str(ROOT / "tests" / "peers" / script), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]

    seen = told("read_hftbacktest.py", tmp_path / "x.npz", 0.01, 0.00000001)
    assert (seen["bid"], seen["ask"], seen["events"]) == ([101.0, 1.0], [102.0, 1.0], 16)
    seen = told("read_nautilus.py", tmp_path / "catalog")
    assert (seen["bids"], seen["asks"], seen["trades"]) == ([["101.00", 1.0]], [["102.00", 1.0]], 3)
