"""`daedalus recover`: what was left behind is told, then sealed."""

import pytest
import typer
from typer.testing import CliRunner

from daedalus.cli.recover import recover
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.recovery import locked
from daedalus.shared.errors import StorageError
from daedalus.testing.lake import read_channel, unfinished
from tests.unit.ingestion.lakes import sealed_lake

app = typer.Typer()
app.command()(recover)


def run(base, *arguments):
    result = CliRunner().invoke(app, ["--base-dir", str(base), *arguments])
    if isinstance(result.exception, StorageError):
        raise result.exception
    return result


@pytest.fixture
def left_behind(tmp_path):
    """A lake with a journal that was cut off, and a half-written file."""
    _, data = sealed_lake(tmp_path / "other", "parquet", end=False)
    paths = RawPaths(tmp_path / "lake", "testex")
    paths.active.mkdir(parents=True)
    (paths.active / "20250619T140000000000000Z-00000007.journal").write_bytes(data)
    (paths.active / "20250619T130000000000000Z-00000001.3.tmp").write_bytes(b"half")
    return paths


def test_a_dry_run_tells_and_touches_nothing(left_behind):
    before = sorted(left_behind.base.rglob("*"))
    result = run(left_behind.base, "--dry-run")
    assert result.exit_code == 0 and "cut off after its last flush" in result.stdout and "trades" in result.stdout
    assert sorted(left_behind.base.rglob("*")) == before


def test_it_seals_what_the_journal_holds(left_behind):
    result = run(left_behind.base)
    assert result.exit_code == 0 and "segments" in result.stdout
    rows = read_channel(left_behind.base, "trades", "testex")
    assert rows.height == read_channel(left_behind.base.parent / "other", "trades", "testex").height
    assert "crash" in set(read_channel(left_behind.base, "gaps", "testex")["reason"])
    assert unfinished(left_behind.base) == []
    assert "nothing to recover" in run(left_behind.base).stdout


def test_an_unreadable_journal_is_kept_and_named(left_behind):
    (journal,) = left_behind.active.glob("*.journal")
    journal.write_bytes(b"garbage")
    result = run(left_behind.base)
    assert result.exit_code == 1 and str(left_behind.quarantine / journal.name) in result.stderr
    assert (left_behind.quarantine / journal.name).read_bytes() == b"garbage"


def test_it_does_not_disturb_a_recorder_at_work(left_behind):
    with locked(left_behind), pytest.raises(StorageError, match="another recorder"):
        run(left_behind.base)
