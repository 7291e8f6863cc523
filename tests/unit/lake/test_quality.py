"""Quality: what is planted in a small lake is found, with its cause, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import daedalus
from daedalus.cli.main import app, run
from daedalus.lake.quality.columns import COLUMNS
from daedalus.lake.quality.page import page
from daedalus.shared.errors import ConfigError
from daedalus.shared.events import BookSnapshot, Event, Ticker, Trade, pack_levels
from tests.unit.lake.bronze import HOUR, T0, S, delta, gap, write_events
from tests.unit.lake.test_lake import write_made

COUNTS = [c.name for c in COLUMNS if c.unit in ("count", "rows", "periods", "messages") and c.name != "rows"]
NAMES = {"exchange": "coinbase", "symbol": "BTC-USD"}


def trade(at: int, number: int | None, side: str | None = "buy", price: float = 100.1, late_ms: int = 5) -> Trade:
    time = (at - late_ms * 10**6) // 1000
    identity = None if number is None else str(number)
    return Trade(
        collected_at=at,
        **NAMES,
        timestamp=time,
        trade_id=identity,
        side=side,
        price=price,
        amount=1.0,  # type: ignore[arg-type]
    )


def book(at: int, nonce: int | None = None, bid: float = 99.9, ask: float = 100.1, late_ms: int = 5) -> BookSnapshot:
    sides = {"bids": pack_levels([(bid, 1.0)]), "asks": pack_levels([(ask, 1.0)])}
    return BookSnapshot(collected_at=at, **NAMES, timestamp=(at - late_ms * 10**6) // 1000, nonce=nonce, **sides)


def clean() -> list[Event]:
    """Return two minutes without a fault: a book and a trade a second."""
    events: list[Event] = []
    for n in range(120):
        events += [
            book(T0 + n * S, n),
            trade(T0 + n * S + S // 2, n, "buy" if n % 2 else "sell", 100.1 if n % 2 else 99.9),
        ]
    return events


def faults(base: Path, **options: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return by (hour, channel) what is not as it should be."""
    rows = daedalus.open_lake(base).quality(**options).hours
    found = {}
    for row in rows.iter_rows(named=True):
        key = (f"{row['hour']}", row["channel"])
        found[key] = {name: row[name] for name in COUNTS if row[name]}
    return found


def one(base: Path, channel: str) -> dict[str, Any]:
    rows = daedalus.open_lake(base).quality().hours.filter(pl.col("channel") == channel)
    return rows.row(0, named=True)


def test_what_is_whole_has_no_fault(tmp_path: Path) -> None:
    write_events(tmp_path, clean())
    assert faults(tmp_path) == {("14", "orderbook"): {}, ("14", "trades"): {}}
    books, trades = one(tmp_path, "orderbook"), one(tmp_path, "trades")
    assert books["rows"] == trades["rows"] == 120
    assert books["connected_s"] == 119.5 and books["verified_s"] == 119.0
    assert trades["connected_s"] == trades["verified_s"] == 119.0
    assert books["latency_p50_ms"] == books["clock_offset_ms"] == pytest.approx(5)
    assert books["spread_p50_bps"] == pytest.approx(20)
    assert trades["sides_checked"] == trades["sides_agree"] == 120


@pytest.mark.parametrize(
    ("channel", "planted", "expected"),
    [
        ("trades", [trade(T0 + 30 * S, 7)], {"duplicates": 1}),
        ("trades", [trade(T0 + 130 * S, 120, late_ms=60_000)], {"out_of_order": 1}),
        ("trades", [trade(T0 + 30 * S, 120, price=500.0)], {"outliers": 1}),
        ("trades", [trade(T0 + 30 * S, 120, price=-1.0)], {"outliers": 1}),
        ("orderbook", [book(T0 + 30 * S + 1, 120, bid=100.2)], {"crossed": 1}),
        ("orderbook", [book(T0 + 30 * S + 1, 120, bid=100.1)], {"locked": 1}),
        ("orderbook", [book(T0 + 300 * S, 120)], {"stale": 1}),
        ("orderbook", [book(T0 + 30 * S + 10**6, 30, late_ms=6)], {"duplicates": 1}),
        ("orderbook", [book(T0 + 30 * S + 1, 120, bid=1.0, ask=2.0)], {"outliers": 1}),
        ("trades", [gap(T0 + 31 * S, T0 + 30 * S, T0 + 31 * S, "stall", "trades")], {"gaps": 1, "gaps_stall": 1}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_each_fault_is_found_and_no_other(
    tmp_path: Path, channel: str, planted: list[Event], expected: dict[str, int]
) -> None:
    write_events(tmp_path, sorted([*clean(), *planted], key=lambda event: event.collected_at))
    found = faults(tmp_path)
    other = {"trades": "orderbook", "orderbook": "trades"}[channel]
    assert found["14", channel] == expected
    assert found["14", other] == {}


def test_sides_that_are_swapped_show(tmp_path: Path) -> None:
    swapped = [trade(T0 + n * S + S // 2, n, "sell" if n % 2 else "buy", 100.1 if n % 2 else 99.9) for n in range(20)]
    write_events(tmp_path, [*(book(T0 + n * S, n) for n in range(20)), *swapped])
    row = one(tmp_path, "trades")
    assert (row["sides_checked"], row["sides_agree"]) == (20, 0)


def test_verified_is_less_than_connected_where_numbers_are_missing(tmp_path: Path) -> None:
    events = [trade(T0 + n * 10 * S, n if n < 5 else n + 3) for n in range(10)]
    write_events(tmp_path, events)
    row = one(tmp_path, "trades")
    assert (row["connected_s"], row["verified_s"]) == (90.0, 80.0)
    unnumbered = tmp_path / "unnumbered"
    write_events(unnumbered, [trade(T0 + n * 10 * S, None) for n in range(10)])
    row = one(unnumbered, "trades")
    assert (row["connected_s"], row["verified_s"], row["duplicates"]) == (90.0, 0.0, None)


def test_gaps_overlap_once_and_an_open_one_ends_with_the_next_row(tmp_path: Path) -> None:
    rows = [trade(T0, 0), trade(T0 + 100 * S, 1)]
    ledger = [
        gap(T0 + 10 * S, T0 + 10 * S, None, "disconnect", "trades"),
        gap(T0 + 30 * S, T0 + 10 * S, T0 + 30 * S, "disconnect", "trades"),  # the same one, with its end
        gap(T0 + 40 * S, T0 + 20 * S, T0 + 40 * S, "stall", "ALL"),
        gap(T0 + 60 * S, T0 + 60 * S, None, "crash", "trades"),
    ]
    write_events(tmp_path, [*rows, *ledger])
    row = one(tmp_path, "trades")
    assert (row["gaps"], row["gaps_disconnect"], row["gaps_crash"], row["gap_s"]) == (2, 1, 1, 70.0)
    assert (row["connected_s"], row["verified_s"]) == (30.0, 30.0)
    assert one(tmp_path, "ALL")["gaps_stall"] == 1
    gaps = daedalus.open_lake(tmp_path).quality().gaps
    ends = [("disconnect", T0 + 30 * S), ("stall", T0 + 40 * S), ("crash", T0 + 100 * S)]
    assert gaps.select("reason", "ended_at").rows() == ends


def test_a_stream_that_never_came_is_told_by_its_gap(tmp_path: Path) -> None:
    write_events(tmp_path, [trade(T0, 0), gap(T0 + S, T0, None, "disconnect", "l2")])
    assert faults(tmp_path)["14", "l2"] == {"gaps": 1, "gaps_disconnect": 1}


def test_quiet_hours_count_and_hours_that_were_not_recorded_do_not(tmp_path: Path) -> None:
    events: list[Event] = [trade(T0 + S, 0), trade(T0 + 3 * HOUR, 1)]
    stop = [gap(T0 + 3 * HOUR + S, T0 + 3 * HOUR + S, None, "shutdown", "trades"), trade(T0 + 9 * HOUR, 2)]
    write_events(tmp_path, [*events, *stop])
    rows = daedalus.open_lake(tmp_path).quality().hours
    got = rows.filter(pl.col("channel") == "trades").select("hour", "rows", "connected_s", "verified_s").rows()
    assert got[:4] == [(14, 1, 3599.0, 3599.0), (15, 0, 3600.0, 3600.0), (16, 0, 3600.0, 3600.0), (17, 1, 1.0, 1.0)]
    assert [row[0] for row in got[4:]] == [23]
    narrow = daedalus.open_lake(tmp_path).quality(start="2025-06-19T15:30", end="2025-06-19T16:00").hours
    assert narrow.select("hour", "connected_s", "verified_s").rows() == [(15, 3600.0, 3600.0)]


def test_an_hour_that_was_lost_whole_counts(tmp_path: Path) -> None:
    lost = gap(T0 + 3 * HOUR, T0 + HOUR // 2, T0 + 3 * HOUR, "disk_full", "trades")
    write_events(tmp_path, [trade(T0, 0), lost, trade(T0 + 3 * HOUR, 1)])
    rows = daedalus.open_lake(tmp_path).quality().hours.filter(pl.col("channel") == "trades")
    assert rows.select("hour", "gaps", "connected_s", "gap_s").rows() == [
        (14, 1, 1800.0, 1800.0),
        (15, 0, 0.0, 3600.0),
        (16, 0, 0.0, 3600.0),
        (17, 0, 0.0, 0.0),
    ]


def test_the_table_is_kept_day_by_day_and_a_rerun_changes_nothing(tmp_path: Path) -> None:
    write_events(tmp_path, [trade(T0 + n * HOUR, n) for n in range(20)])
    lake = daedalus.open_lake(tmp_path)
    whole = lake.quality(save=True).hours
    files = {path: path.read_bytes() for path in tmp_path.rglob("quality.parquet")}
    assert len(files) == 2
    lake.quality(save=True, start=T0 + 2 * HOUR, end=T0 + 3 * HOUR)
    assert {path: path.read_bytes() for path in tmp_path.rglob("quality.parquet")} == files
    kept = lake.scan("quality", symbol="BTC/USD", start=T0 + HOUR, end=T0 + 2 * HOUR).collect()
    assert kept["hour_start"].to_list() == [T0 + HOUR]
    names = [c.name for c in COLUMNS]
    assert lake.scan("quality", columns=names).collect().equals(whole.select(names))
    assert lake.sql("select sum(rows) n, max(month) m from quality where day = 19").row(0) == (10, 6)


def test_a_ticker_and_l2_are_judged_too(tmp_path: Path) -> None:
    tickers = [Ticker(collected_at=T0 + n * S, **NAMES, bid=1.0 + (n == 3), ask=1.5) for n in range(5)]
    frames = [delta(T0 + n * S, ("bid", 1.0, 1.0), ("ask", 2.0, 1.0), whole=n == 0, nonce=n) for n in range(5)]
    again = delta(T0 + 4 * S + 1000, ("bid", 1.0, 1.0), nonce=4)
    write_events(tmp_path, [*tickers, *frames, again])
    assert one(tmp_path, "ticker")["crossed"] == 1 and one(tmp_path, "ticker")["latency_p50_ms"] is None
    row = one(tmp_path, "l2")
    assert (row["rows"], row["crossed"], row["verified_s"]) == (11, None, 4.000001)


def test_what_does_not_match_says_what_there_is(tmp_path: Path) -> None:
    write_events(tmp_path, [trade(T0, 0)])
    lake = daedalus.open_lake(tmp_path)
    with pytest.raises(ConfigError, match=r"nothing matches symbol DOGE-USD\. There is: coinbase BTC-USD"):
        lake.quality(symbol="DOGE/USD")
    with pytest.raises(ConfigError, match="nothing matches from 2025-06-20"):
        lake.quality(start="2025-06-20")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="nothing is recorded"):
        daedalus.open_lake(tmp_path / "empty").quality()


def test_rows_of_features_can_carry_quality_ok(tmp_path: Path) -> None:
    ledger = gap(T0 + 31 * S, T0 + 30 * S, T0 + 35 * S, "stall", "orderbook")
    write_events(tmp_path, [*clean(), ledger])
    clock = [T0 + n * S for n in (30, 31, 34, 35, 36, 37, 38)]
    silver = {"ts": clock, "collected_at": clock, "is_crossed": [0] * 5 + [1, 0], "book_age_s": [0.0] * 6 + [61.0]}
    write_made(tmp_path, "orderbook/silver", "collected_at", silver)
    lake = daedalus.open_lake(tmp_path)
    rows = lake.scan("orderbook_features", columns=["ts"], quality_ok=True).collect()
    assert rows.columns == ["ts", "quality_ok"]
    assert rows["quality_ok"].to_list() == [True, False, False, True, True, False, False]
    with pytest.raises(ConfigError, match="and trades are none"):
        lake.scan("trades", quality_ok=True)


def test_the_page_needs_nothing_else_and_follows_light_and_dark(tmp_path: Path) -> None:
    entry = gap(T0 + 31 * S, T0 + 30 * S, T0 + 31 * S, "stall", "trades")
    write_events(tmp_path, [*clean(), entry])
    text = page("<lake>", daedalus.open_lake(tmp_path).quality())
    assert not re.search(r"https?:|src=|@import|url\(|<script", text)
    assert "prefers-color-scheme:dark" in text and "&lt;lake&gt;" in text
    assert text.count("<svg") == text.count("</svg>") == 4  # coverage, spread, two of latency
    assert '<td class="left">stall</td>' in text and 'class="gap"' in text


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_events(tmp_path, [*clean(), gap(T0 + 31 * S, T0 + 30 * S, T0 + 31 * S, "stall", "trades")])
    args = ["quality", "--base-dir", str(tmp_path)]
    done = CliRunner().invoke(app, [*args, "--json", "--no-save"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and set(told) == {"summary", "hours", "gaps"}
    assert [gap["reason"] for gap in told["gaps"]] == ["stall"] and not (tmp_path / "processed").exists()
    done = CliRunner().invoke(app, [*args, "--html", str(tmp_path / "q.html")])
    assert done.exit_code == 0 and "stall" in done.stdout and (tmp_path / "q.html").stat().st_size > 5000
    monkeypatch.setattr("shutil.get_terminal_size", lambda: __import__("os").terminal_size((80, 24)))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for words, code in ((["--symbol", "DOGE"], 2), (["--html", str(tmp_path / "no" / "dir" / "x.html")], 0)):
        with pytest.raises(SystemExit) as end:
            run(lambda words=words: app([*args, *words], standalone_mode=True))
        assert end.value.code == code
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())
