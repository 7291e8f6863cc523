"""`daedalus watch` through the command line, and what sync leaves for it."""

from pathlib import Path

from tests.end_to_end.commands import run, run_alone, script
from tests.unit.etl.core.fed_lake import feed, write_fed
from tests.unit.etl.core.stateful_lake import silver

FEW = ("--feature-set", "core", "--tables", "orderbook")


def test_watch_once_and_sync_beside_it(tmp_path: Path) -> None:
    source, lake = tmp_path / "source", tmp_path / "lake"
    journals = write_fed(source, tmp_path / "whole")
    late = journals[1]
    feed(source, lake, [key for journal in journals if journal is not late for key in journal])
    done = script("run_watcher.py", "--base-dir", lake, "--once", *FEW, cwd=tmp_path)
    assert "written" in done.stdout + done.stderr
    feed(source, lake, late)
    told = run_alone("watch", "--base-dir", lake, "--once", "--late", "report", *FEW, cwd=tmp_path, code=1)
    assert " late, " in told.stdout + told.stderr

    sync = ("sync", "--source", lake, "--destination", tmp_path / "store", "--delete-after-transfer")
    for _ in range(2):  # silver goes after the segments that it tells of
        run_alone(*sync, "--set", "storage.sync.keep_local_hours=0", cwd=tmp_path)
    left = {str(path.relative_to(lake)) for path in (lake / "raw").rglob("*.parquet")}
    read = [key for journal in journals for key in journal if "/ticker/" not in key]
    assert left == {key for key in read if "hour=18" in key or key in late}
    assert set(silver(lake)) == {key for key in silver(tmp_path / "store") if "hour=14" in key or "hour=18" in key}

    refused = run_alone("watch", "--base-dir", lake, "--state-path", "x.json", cwd=tmp_path, code=2)
    assert "give a folder" in refused.stderr
    assert "Example: daedalus watch" in run("watch", "--help", cwd=tmp_path).stdout
