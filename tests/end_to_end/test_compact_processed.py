"""`daedalus compact` over features that were appended, through the command line."""

from pathlib import Path

from tests.end_to_end.commands import run
from tests.unit.etl.core.test_merging import append_lake, files, rows


def test_appended_features_become_one_file(tmp_path: Path) -> None:
    lake = append_lake(tmp_path / "lake")
    before = rows(lake)
    told = run("compact", "--base-dir", lake, "--dry-run", cwd=tmp_path).stdout
    assert "would merge 3 segments of" in told and len(files(lake)) == 3
    told = run("compact", "--base-dir", lake, "--layer", "processed", cwd=tmp_path).stdout
    assert "merged 3 segments into 1; not merged: 0" in told
    assert len(files(lake)) == 1 and rows(lake).equals(before)
