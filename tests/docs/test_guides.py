"""The guides of operations: their commands and settings are valid, their messages are those of the code."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from daedalus.cli.main import app
from daedalus.config.config import load_config
from daedalus.ingestion.monitoring.metrics import METRICS, SYNC_METRICS
from tests.conftest import ROOT
from tests.docs.guide_commands import commands, pages, reason_not_here

GUIDES = tuple(page.stem for page in pages() if page.parent.name == "docs")


def text_of(guide: str) -> str:
    return (ROOT / "docs" / f"{guide}.md").read_text()


def parse(words: list[str]) -> None:
    """Parse a command line without doing it; unknown commands, flags and values raise."""
    command: Any = typer.main.get_command(app)
    parent = None
    while hasattr(command, "resolve_command"):
        parent = command.context_class(command, parent=parent)
        _, command, words = command.resolve_command(parent, words)
    context = command.make_context(command.name, list(words), parent=parent)
    settings = context.params.get("overrides") or ()
    if settings:
        from daedalus.cli.overrides import parse_overrides

        load_config(None, parse_overrides(list(settings)), environ={}, default_path=Path("/nonexistent"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_commands_can_be_called_as_they_stand(page: Path) -> None:
    for command in commands(page.read_text()):
        program, *words = shlex.split(command.removeprefix("sudo "))
        if Path(program).name == "daedalus":
            parse(words)
        else:
            assert reason_not_here(command) or program in ("make", ".venv/bin/python"), command


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda page: page.stem)
def test_blocks_of_commands_are_marked_as_such(page: Path) -> None:
    fence, inside = "", False
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            inside, fence = not inside, line.strip("` ")
        elif inside and re.match(r" *(sudo )?(\.venv/bin/)?daedalus ", line):
            assert fence == "sh", f"{page.name}: {line}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda page: page.stem)
def test_commands_within_a_sentence_are_those_that_there_are(page: Path) -> None:
    for line in re.findall(r"`daedalus ([^-`][^`]*)`", page.read_text()):
        try:
            parse(shlex.split(line))
        except IndexError:
            pass  # A group of commands, by its name.
        except Exception as error:
            assert "Missing parameter" in str(error), f"daedalus {line}: {error}"


def test_what_is_wrong_is_noticed() -> None:
    for line in ("statuss", "status --wach", "run --set metrics.prt=1", "ingest --duration soon"):
        with pytest.raises(Exception, match=r"No such|unknown key|valid number"):
            parse(shlex.split(line))


@pytest.mark.parametrize("guide", GUIDES)
def test_settings_are_valid(guide: str, tmp_path: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", text_of(guide), flags=re.DOTALL):
        path = tmp_path / "config.yaml"
        path.write_text(block)
        load_config(path, environ={})


def test_messages_are_those_of_the_code() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    rows = re.findall(r"^\| (`.*?) \| .* \|$", text_of("TROUBLESHOOTING"), flags=re.MULTILINE)
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 30
    # What other programs say, and what is put together from parts.
    others = {"gaps", "systemctl status", "status=2", "is an alias", "ledger.sqlite", "another sync", "another watcher"}
    assert {text for text in quoted if text not in code} <= others


def test_alarms_name_metrics_that_there_are() -> None:
    names = {metric.name for metric in METRICS} | {name for name, *_ in SYNC_METRICS}
    for guide in GUIDES:
        assert set(re.findall(r"daedalus_\w+", text_of(guide))) <= names


def test_the_container_runs_what_there_is_and_not_as_root() -> None:
    text = (ROOT / "deploy" / "Containerfile").read_text()
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER daedalus$", last, re.MULTILINE) and "useradd" in last.partition("USER")[0]
    assert re.search(r'^ENTRYPOINT \["daedalus"\]$', last, re.MULTILINE)
    for name in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / word).exists() for word in name.split()), name
    parse(re.findall(r'"(\w+)"', re.findall(r"^CMD (.*)$", last, re.MULTILINE)[-1]))
    parse(["status"])


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Return every command by its words."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
    for name, one in getattr(command, "commands", {}).items():
        yield from leaves(one, (*path, name))


def test_every_command_has_an_example_that_can_be_called_and_is_in_a_guide() -> None:
    pages = "\n".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    for name, command in leaves(typer.main.get_command(app)):
        examples = re.findall(r"^ *Example: daedalus (.*)$", command.callback.__doc__, flags=re.MULTILINE)
        assert examples, f"daedalus {name} --help has no example"
        for example in examples:
            assert example.startswith(name)
            parse(shlex.split(example))
        assert f"daedalus {name}" in pages, f"no guide names daedalus {name}"
