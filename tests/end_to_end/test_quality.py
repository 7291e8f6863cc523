"""A real recording through `import` and `quality`: what it is known to be, and nothing that is not in it."""

import json
from pathlib import Path

from typer.testing import CliRunner

from daedalus.cli.main import app


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
