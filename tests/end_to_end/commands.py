"""Commands as tests run them: in this process, or in one of their own where its life is what matters."""

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from daedalus.cli.main import main
from tests.conftest import ROOT

Done = subprocess.CompletedProcess[str]
#: Kernels that no process has compiled yet take minutes on a small machine.
PATIENCE_S = 200


def run(*arguments: object, cwd: Path, code: int = 0, env: dict[str, str] | None = None) -> Done:
    """Run a command in this process, which has loaded already what a process of its own takes seconds to load."""
    return _checked(attempt(*arguments, cwd=cwd, env=env), code)


def attempt(
    *arguments: object, cwd: Path, env: dict[str, str] | None = None, program: Callable[[], object] = main
) -> Done:
    """Run a command in this process, however it ends."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    words = ["daedalus", *map(str, arguments)]
    with _as_it_was(), contextlib.chdir(cwd), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            program()
    said = (stream.buffer.getvalue().decode() for stream in (out, err))
    return Done(words, int(ended.value.code or 0), *said)


def run_alone(*arguments: object, cwd: Path, code: int = 0) -> Done:
    """Run a command in a process of its own, as users do."""
    return _checked(_start([sys.executable, "-m", "daedalus.cli.main", *map(str, arguments)], cwd), code)


def script(name: str, *arguments: object, cwd: Path) -> Done:
    """Run a script of `scripts/etl`."""
    return _checked(_start([sys.executable, str(ROOT / "scripts" / "etl" / name), *map(str, arguments)], cwd), 0)


def _start(command: list[str], cwd: Path) -> Done:
    return subprocess.run(command, cwd=cwd, env=os.environ, capture_output=True, text=True, timeout=PATIENCE_S)


def _checked(done: Done, code: int) -> Done:
    assert done.returncode == code, done.stdout + done.stderr
    return done


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Put back what a command sets up for its process: signals and logging."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    root, before = logging.getLogger(), structlog.get_config()
    level, kept = root.level, list(root.handlers)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        root.setLevel(level)
        root.handlers[:] = kept
        structlog.configure(**before)
