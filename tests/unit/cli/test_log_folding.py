"""Floods of warnings: a few lines and a number, and nothing of what a run does in order."""

import json
import logging

import pytest
import structlog

from daedalus.cli import log_folding
from daedalus.cli.logs import configure_logging


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves, in the filter that logging is set up with."""
    now = [0.0]
    monkeypatch.setattr(log_folding.Folding.__init__, "__defaults__", (lambda: now[0],))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield now
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


def written(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_flood_becomes_a_few_lines_and_a_number(clock, tmp_path, capsys):
    file = tmp_path / "log"
    configure_logging(level="INFO", format="json", file=file)
    log, library = structlog.get_logger("daedalus.x"), logging.getLogger("library")
    for number in range(1000):
        log.warning("disconnected", collector="a", retry_in_seconds=number / 7)
        library.error("slow: %s s", number)
    assert len(written(file)) == 10
    log.warning("disconnected", collector="b", retry_in_seconds=1.0)
    assert written(file)[-1]["collector"] == "b"
    clock[0] = 61.0
    log.warning("something else")
    told = [line for line in written(file) if "more lines" in line["event"]]
    assert [(line["logger"], line["level"]) for line in told] == [("daedalus.x", "warning"), ("library", "error")]
    assert told[0]["event"] == "995 more lines like: disconnected collector=a retry_in_seconds=#"
    assert told[1]["event"] == "995 more lines like: slow: # s"
    log.warning("disconnected", collector="a", retry_in_seconds=2.0)
    assert written(file)[-1]["collector"] == "a"
    assert capsys.readouterr().err == file.read_text()


def test_what_is_done_in_order_is_never_folded(clock, tmp_path, capsys):
    file = tmp_path / "log"
    configure_logging(level="INFO", format="json", file=file)
    for number in range(50):
        structlog.get_logger("daedalus.x").info("written", rows=number)
    assert len(written(file)) == 50


def test_what_is_remembered_is_bounded(clock, tmp_path, capsys):
    folding = log_folding.Folding()
    for number in range(3 * log_folding.KINDS_MAX):
        name = "".join(chr(97 + int(digit)) for digit in str(number))
        assert folding.filter(logging.LogRecord("x", logging.ERROR, "", 0, name, (), None))
    assert len(folding._kinds) <= log_folding.KINDS_MAX
