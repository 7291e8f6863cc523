"""Ctrl-C and SIGTERM while features are computed: whole hours only, an exit code of its own, and a run that goes on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import typer

from daedalus.cli.etl_run import RunOptions, execute
from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.report import Progress
from daedalus.etl.core.runners import StatefulOrderbookRunner
from tests.unit.etl.core.stateful_lake import CONFIG, run, silver, write_market


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_second_hour(
    number: signal.Signals, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_market(tmp_path / "lake", "BTC/USD", 0)
    run(tmp_path / "lake", tmp_path / "whole")
    state = tmp_path / "btc-usd_orderbook.json"
    asked: list[int] = []

    def make(**options: object) -> TransformExecutor:
        def at_second_hour(progress: Progress) -> None:
            if progress.begun == 2 and not asked:
                asked.append(number)
                os.kill(os.getpid(), number)

        where = (InputConfig(tmp_path / "lake"), OutputConfig(tmp_path / "out"))
        return StatefulOrderbookRunner(CONFIG, *where, state_path=state, on_progress=at_second_hour)

    before = signal.getsignal(signal.SIGTERM)
    # Commands that ran in this process before may have left another handler.
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(typer.Exit) as ended:
            execute("orderbook features", make, FilterSpec(), RunOptions())
    finally:
        signal.signal(signal.SIGINT, found)
    assert ended.value.exit_code == code
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
    assert [Path(key).name for key in silver(tmp_path / "out")] == ["hour=14"]
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert json.loads(state.read_text())["checkpoints"][0]["until"].startswith("2025-06-19T15:00")
    execute("orderbook features", make, FilterSpec(), RunOptions())
    assert silver(tmp_path / "out") == silver(tmp_path / "whole")
