"""Real recordings through `import` and `quality`: what each is known to be, and nothing that is not in it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daedalus.cli.main import app

FAULTS = ("missed", "duplicates", "out_of_order", "crossed", "locked", "stale", "outliers")
#: Recordings by the words of their import. What takes seconds to import runs with `make soak`.
RECORDINGS = {
    "cryptofeed": ("cryptofeed_ws/*", "cryptofeed"),
    "binance spot": ("binance_raw/spot*", "binance-raw"),
    "binance usd-m": ("binance_raw/usdm*", "binance-raw"),
    "binance coin-m": ("binance_raw/cm*", "binance-raw"),
    "bitstamp log": ("bitstamp_btcusd_20150501/*", "bitstamp-log", "--symbol", "btcusd"),
}
SHORT = {"cryptofeed"}


@pytest.mark.parametrize("name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.soak) for n in RECORDINGS])
def test_a_recording_has_no_fault_but_its_end(recordings: Path, tmp_path: Path, name: str) -> None:
    pattern, form, *words = RECORDINGS[name]
    files = sorted(map(str, recordings.glob(pattern)))
    every = ("--base-dir", str(tmp_path), "--orderbook-interval-ms", "0")
    done = CliRunner().invoke(app, ["import", "--format", form, *words, *every, *files])
    assert done.exit_code == 0, done.output
    told = json.loads(CliRunner().invoke(app, ["quality", "--base-dir", str(tmp_path), "--json", "--no-save"]).stdout)
    assert {gap["reason"] for gap in told["gaps"]} == {"shutdown"}
    assert len(told["summary"]) >= 2
    for row in told["summary"]:
        found = {fault: row[fault] for fault in FAULTS if row[fault]}
        assert not found, (row["exchange"], row["symbol"], row["channel"], found)
        if row["exchange"] != "binance":  # Its quotes have no time of the exchange.
            assert row["side_agreement"] is None or row["side_agreement"] > 0.95, row


def test_a_recording_is_judged_as_it_is_known_to_be(recordings: Path, tmp_path: Path) -> None:
    (path,) = (recordings / "coinbase_exchange_l2_20180417").glob("*.gz")
    runner, base = CliRunner(), str(tmp_path)
    done = runner.invoke(
        app, ["import", "--format", "coinbase-exchange", "--base-dir", base, "--source", "cb", str(path)]
    )
    assert done.exit_code == 0, done.output
    done = runner.invoke(app, ["quality", "--base-dir", base, "--json"])
    told = json.loads(done.stdout)
    assert {gap["reason"] for gap in told["gaps"]} == {"shutdown"}, "its only gap is its end"
    rows = {row["channel"]: row for row in told["summary"]}
    assert set(rows) == {"trades", "l2", "orderbook"}
    for row in rows.values():
        found = {name: row[name] for name in ("duplicates", "out_of_order", "crossed", "locked", "stale", "outliers")}
        assert not any(found.values()), (row["channel"], found)
    trades = rows["trades"]
    assert (trades["rows"], trades["connected_s"], trades["verified_s"]) == (256, 592.0, 587.0)
    # The maker's side is recorded there: that ours is the taker's is what the quotes confirm.
    assert trades["side_agreement"] > 0.99
    assert -4000 < trades["clock_offset_ms"] < -2000, "it stamps whole seconds"
