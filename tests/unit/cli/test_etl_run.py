"""What a run shows while it goes on."""

import contextlib
import os
import pty
import sys

import pytest

from daedalus.cli.etl_run import _Progress
from daedalus.etl.core.report import Progress
from daedalus.etl.transforms.base import Market


def all_of(near: int) -> str:
    """Return what was written to a terminal whose other side is closed."""
    pieces = []
    with contextlib.suppress(OSError):  # the end, as Linux tells it
        while piece := os.read(near, 4096):
            pieces.append(piece)
    os.close(near)
    return b"".join(pieces).decode()


def test_a_terminal_sees_how_far_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with os.fdopen(far, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with _Progress("orderbook features") as progress:
            for begun in (1, 2, 3):
                progress.show(Progress(begun, 4, Market("coinbase", "BTC-USD")))
        monkeypatch.undo()
    shown = all_of(near)
    assert "orderbook features coinbase BTC-USD" in shown
    assert "2/4" in shown and "/s " in shown and ":" in shown.rpartition("/s ")[2]
