"""Features with a state through the command line: hour by hour, in processes, forecast, and the state commands."""

import json
from pathlib import Path

import pytest

from daedalus.etl.core.manifest import inputs_of
from daedalus.storage.local import local_place
from tests.end_to_end.commands import run
from tests.unit.etl.core.stateful_lake import silver, write_market

FEW = ["--feature-set", "core"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("cli") / "lake"
    for seed, symbol in enumerate(("BTC/USD", "ETH/USD")):
        write_market(base, symbol, seed)
    return base


def test_hours_with_a_state_processes_and_the_state_commands(lake: Path, tmp_path: Path) -> None:
    features = ["features", "orderbook", "--input", lake, *FEW]
    both = ["--to", "2025-06-19T16", "--workers", 2, "--json"]
    report = json.loads(run(*features, "--output", tmp_path / "a", *both, cwd=tmp_path).stdout)
    assert (report["rows_out"], len(report["partitions"]), report["failures"]) == (272, 4, [])
    told = [(market["symbol"], market["hours"], market["rows_in"], market["skipped"]) for market in report["markets"]]
    assert told == [("BTC-USD", 2, 136, 0), ("ETH-USD", 2, 136, 0)]
    state = tmp_path / "state" / "btc-usd_orderbook.json"
    hourly = [*features, "--output", tmp_path / "b", "--symbol", "BTC/USD", "--state-path", state]
    told = json.loads(run(*hourly, "--hour", 14, "--dry-run", "--json", cwd=tmp_path).stdout)
    assert not (tmp_path / "b").exists() and not state.exists()
    for hour in (14, 15):
        done = json.loads(run(*hourly, "--hour", hour, "--json", cwd=tmp_path).stdout)
        if hour == 14:
            [market] = told["markets"]
            assert market["write"] == [w["path"] for w in done["partitions"]]
            assert (len(market["read"]), market["state"]) == (done["files_opened"], str(state))
            origins = [inputs_of(local_place(Path(w["path"]))) or [] for w in done["partitions"]]
            assert {str(lake / one.key) for inputs in origins for one in inputs} == set(market["read"])
        assert done["files_opened"] == done["files_needed"] > 0
    assert silver(tmp_path / "b") == {key: rows for key, rows in silver(tmp_path / "a").items() if "BTC" in key}
    back = run(
        *hourly, "--hour", 14, "--set", "etl.channels.orderbook.processor_options.ofi_levels=3", cwd=tmp_path, code=1
    )
    assert "is the state of another configuration" in back.stderr
    next((tmp_path / "b").rglob("hour=14/*.parquet")).unlink()
    assert "cannot go back in time" in run(*hourly, "--hour", 14, cwd=tmp_path, code=1).stderr
    run(*hourly, "--hour", 14, "--reset-state", cwd=tmp_path)

    listed = run("state", "list", "--state-path", state.parent, cwd=tmp_path).stdout
    assert "orderbook" in listed and "coinbase BTC-USD" in listed and "until 2025-06-19T15:00" in listed
    shown = run("state", "show", "--state-path", state, "--json", cwd=tmp_path).stdout
    assert json.loads(shown)[0]["checkpoints"][0]["rows"] == 68
    assert "name what to forget" in run("state", "reset", "--state-path", state.parent, cwd=tmp_path, code=2).stderr
    assert (
        "forgot orderbook features of coinbase BTC-USD"
        in run("state", "reset", "--state-path", state.parent, "--symbol", "BTC/USD", cwd=tmp_path).stdout
    )
    assert not state.exists()


def test_trades_may_lie_in_another_lake(lake: Path, tmp_path: Path) -> None:
    empty = tmp_path / "trades"
    write_market(empty, "BTC/USD", 3)
    features = ["features", "orderbook", "--input", lake, *FEW, "--symbol", "BTC-USD", "--hour", 14, "--dry-run"]
    told = run(*features, "--output", tmp_path, "--trades", empty, cwd=tmp_path).stdout
    assert f"trades     {empty}/raw/ready" in told and f"orderbook  {lake}/raw/ready" in told


def test_something_skipped_is_a_failure(lake: Path, tmp_path: Path) -> None:
    features = ["features", "orderbook", "--input", tmp_path / "lake", *FEW, "--state-path", tmp_path / "s.json"]
    write_market(tmp_path / "lake", "BTC/USD", 0)
    run(*features, "--hour", 14, cwd=tmp_path)
    segment = next((tmp_path / "lake/raw/ready/coinbase/orderbook").rglob("hour=14/*.parquet"))
    segment.with_name(segment.name.replace("-00000000", "-00000001")).write_bytes(segment.read_bytes())
    done = run(*features, cwd=tmp_path, code=1)
    assert "skipped: coinbase BTC-USD 2025-06-19T14: its inputs have changed" in done.stderr
    assert "3" in done.stdout  # the other hours are done
