"""docs/EXPORT.md: its commands run, and it names every format."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daedalus.cli.export import ExportFormat
from daedalus.cli.main import app
from daedalus.lake.export.formats import FORMATS
from tests.conftest import ROOT
from tests.unit.lake.bronze import write_events
from tests.unit.lake.test_export import session

TEXT = (ROOT / "docs" / "EXPORT.md").read_text()


def test_it_names_every_format() -> None:
    assert set(FORMATS) == {kind.value for kind in ExportFormat} == set(re.findall(r"--format (\w+)", TEXT))


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "data", session())
    for line in "".join(re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)).splitlines():
        program, *words = shlex.split(line)
        done = CliRunner().invoke(app, words)
        assert program == "daedalus" and done.exit_code == 0, f"{line}\n{done.output}\n{done.exception}"
    assert {p.name for p in tmp_path.iterdir()} == {"data", "btc.npz", "catalog", "trades.csv", "l2.arrow"}
