"""Logs: one form for all lines, bounded files, no secrets."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from daedalus.cli import logs
from daedalus.cli.logs import configure_logging, redact
from daedalus.shared.errors import ConfigError


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_json_lines_of_our_own_and_of_libraries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "logs" / "daedalus.log"
    configure_logging(level="INFO", format="json", file=file)
    structlog.get_logger("daedalus.x").info("flushed", rows=3, path=Path("a"), symbol="é")
    logging.getLogger("library").warning("slow: %s s", 4)
    structlog.get_logger("daedalus.x").debug("not written")
    first, second = lines(file)
    assert first.items() >= {"event": "flushed", "rows": 3, "path": "a", "symbol": "é", "level": "info"}.items()
    assert str(first["timestamp"]).endswith("Z")
    assert second.items() >= {"event": "slow: 4 s", "logger": "library", "level": "warning"}.items()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == file.read_text()


def test_console_lines_are_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="DEBUG", format="console", file=tmp_path / "log")
    structlog.get_logger().debug("connected", symbol="BTC-USD")
    text = capsys.readouterr().err
    assert "connected" in text
    assert "symbol=BTC-USD" in text
    assert "\x1b" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("format", ["console", "json"])
def test_tracebacks_show_no_local_variables(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(format=format)  # type: ignore[arg-type]
    hidden = "local" + "-hush"
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("failed", length=len(hidden))
    text = capsys.readouterr().err
    assert "ValueError: broken" in text
    assert "local-hush" not in text


def test_the_last_call_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(format="json", file=tmp_path / "first")
    configure_logging(format="json", level="ERROR")
    structlog.get_logger().error("once")
    structlog.get_logger().info("never")
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (tmp_path / "first").read_text() == ""


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 2000)
    configure_logging(format="json", file=tmp_path / "log")
    for number in range(500):
        structlog.get_logger().info("line", number=number)
    files = sorted(tmp_path.iterdir())
    assert len(files) == logs.FILES
    assert all(file.stat().st_size <= 2000 for file in files)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"logging\.file: .*/file/log cannot be written"):
        configure_logging(file=tmp_path / "file" / "log")


def test_telling_names_are_hidden() -> None:
    event = {
        "event": "x",
        "api_key": "hush",
        "apiSecret": "hush",
        "headers": {"Authorization": "hush", "n": 1},
        "passphrase": "hush",
        "jwt": "hush",
        "has_token": True,
        "secret": None,
        "symbol": "BTC-USD",
    }
    cleaned = redact(None, "info", event)
    assert "hush" not in str(cleaned)
    assert cleaned["symbol"] == "BTC-USD"
    assert cleaned["headers"] == {"Authorization": logs.HIDDEN, "n": 1}
    assert (cleaned["has_token"], cleaned["secret"]) == (True, None)
