"""Somebody who follows a guide: a folder, an environment, and what they have left running in other terminals."""

import itertools
import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from tests.docs.guide_commands import sign_of_life
from tests.end_to_end.commands import PATIENCE_S, attempt

#: What goes on beside other commands until one of its kind takes its place. Frames are replayed when they are sealed.
_KINDS = {
    "run": "recorder",
    "ingest": "recorder",
    "replay-frames": "recorder",
    "watch": "watcher",
    "sandbox": "exchange",
}


class Running:
    """A command that goes on until Ctrl-C."""

    def __init__(self, words: list[str], folder: Path, env: dict[str, str]) -> None:
        self.line, self.kind = shlex.join(words), _KINDS.get(words[1], "other")
        self._said = folder / f".terminal-{time.monotonic_ns()}"
        with self._said.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daedalus.cli.main", *words[1:]],
                cwd=folder,
                env={**os.environ, **env},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """What stands in its terminal."""
        return self._said.read_text()

    def end(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
        assert code == 0, f"{self.line}: exit code {code}\n{self.said}"


class Terminal:
    """Runs commands in a folder.

    Parameters
    ----------
    folder
        Where they are called.
    env
        What the reader has set: markets, addresses, keys.
    """

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder, self._env = folder, env
        self._running: dict[str, Running] = {}

    def call(self, command: str) -> None:
        """Run a command, or start it and leave it running; fail if it does not do what it should."""
        words = [word for one in shlex.split(command) for word in self._expanded(one)]
        sign = sign_of_life(command)
        self.end(_KINDS.get(words[1], "other"))
        if words[0] == "python":
            script = partial(runpy.run_path, words[1], run_name="__main__")
            done = attempt(*words[2:], cwd=self._folder, env=self._env, program=script)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        elif sign is not None:
            self._start(words, sign)
        else:
            assert words[0] == "daedalus", f"{command}: neither run nor in a table of tests/docs/guide_commands.py"
            self._run(words)

    def end(self, kind: str | None = None) -> None:
        """Press Ctrl-C in the terminals of a kind, or in all, newest first."""
        for name in [name for name in reversed(self._running) if kind in (None, name)]:
            self._running.pop(name).end()

    def abandon(self) -> None:
        """Leave nothing running when something went wrong."""
        for running in self._running.values():
            running.process.kill()
            running.process.wait()

    def _expanded(self, word: str) -> list[str]:
        is_pattern = re.fullmatch(r"[\w.]*\*[\w.]*", word)
        return sorted(path.name for path in self._folder.glob(word)) if is_pattern else [word]

    def _run(self, words: list[str]) -> None:
        # Status is the one that has an exit code for what it saw: whether something records.
        expected = 1 if words[1] == "status" and "recorder" not in self._running else 0
        done = attempt(*words[1:], cwd=self._folder, env=self._env)
        assert done.returncode == expected, f"{shlex.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        for flag, name in itertools.pairwise(words):
            if flag in ("--html", "--output") and "://" not in name:
                assert (self._folder / name).exists(), f"{shlex.join(words)}: {name} is not there"

    def _start(self, words: list[str], sign: str) -> None:
        running = Running(words, self._folder, self._env)
        self._running[running.kind] = running
        deadline = time.monotonic() + PATIENCE_S
        while not getattr(self, f"_{sign}")(running):
            assert running.process.poll() is None, f"{running.line}: has ended\n{running.said}"
            assert time.monotonic() < deadline, f"{running.line}: shows no sign of life\n{running.said}"
            time.sleep(0.4)
        if running.kind == "other":
            self.end("other")

    # Signs of life

    def _speaks(self, running: Running) -> bool:
        return bool(running.said)

    def _records(self, running: Running) -> bool:
        base = re.search(r"--base-dir (\S+)", running.line)
        seen = self._status(*(["--base-dir", base[1]] if base else []))
        return bool(seen["is_well"]) and all(any(one["rows"].values()) for one in seen["recorders"])

    def _watches(self, running: Running) -> bool:
        return running.process.pid in self._status()["watchers"].values()

    def _syncs(self, running: Running) -> bool:
        sync = self._status()["sync"]
        return sync is not None and sync["pid"] == running.process.pid and sync["last_success_at"] is not None

    def _status(self, *flags: str) -> dict:  # type: ignore[type-arg]
        seen: dict = json.loads(attempt("status", "--json", *flags, cwd=self._folder, env=self._env).stdout)  # type: ignore[type-arg]
        return seen
