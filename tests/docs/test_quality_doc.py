"""docs/QUALITY.md: its commands run, and its table is that of the code."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daedalus.cli.main import app
from daedalus.lake.quality.columns import COLUMNS
from daedalus.shared.events import GAP_REASONS
from tests.conftest import ROOT
from tests.unit.lake.bronze import T0, delta, write_events

TEXT = (ROOT / "docs" / "QUALITY.md").read_text()


def test_its_columns_are_those_of_the_table() -> None:
    assert "\n".join(f"| `{c.name}` | {c.unit} | {c.doc} |" for c in COLUMNS) in TEXT
    assert all(f"`{reason}`" in TEXT for reason in GAP_REASONS)


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "data", [delta(T0, ("bid", 1.0, 1.0), whole=True)])
    for line in "".join(re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)).splitlines():
        program, *words = shlex.split(line)
        done = CliRunner().invoke(app, words)
        assert program == "daedalus" and done.exit_code == 0, f"{line}\n{done.output}\n{done.exception}"
    assert (tmp_path / "quality.html").is_file()
