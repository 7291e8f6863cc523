"""Programs that end, hang, cannot start and will not stop; and the units of the same programs."""

import asyncio
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from daedalus.cli import supervisor as module
from daedalus.cli.main import app
from daedalus.cli.programs import hang_check
from daedalus.cli.supervise import programs, settings_of
from daedalus.cli.supervisor import Program, Supervisor
from daedalus.cli.wiring import raw_paths
from daedalus.config.config import load_config
from daedalus.ingestion.monitoring.status import write_status
from daedalus.shared.clock import NS_PER_SECOND, SystemClock
from daedalus.shared.errors import ConfigError, StorageError
from tests.docs.test_guides import parse
from tests.unit.ingestion.test_monitoring import made

SLEEPS = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({!r}, 'w'); time.sleep(60)"
FAILS = "import sys; sys.exit('daedalus: the port is taken')"
MARKETS = ["--set", "coinbase.symbols=[BTC-USD]", "--set", "ccxt.exchanges.kraken.channels={watchTrades: [A/B]}"]
STORE = ["--set", "storage.sync.destination.base_dir=/copy"]


def program(code, name="one", **more):
    return Program(name, (sys.executable, "-c", code), **more)


async def supervised(found, until, **more):
    """Run until the log satisfies a condition; return the log."""
    supervisor = Supervisor(found, clock=SystemClock(), first_s=0.01, longest_s=0.1, rng=random.Random(1), **more)
    stop = asyncio.Event()
    with capture_logs() as said:
        task = asyncio.create_task(supervisor.run(stop))
        async with asyncio.timeout(60):
            while not until(said):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        stop.set()
        async with asyncio.timeout(60):
            await task
    return said


def of(said, event):
    return [line for line in said if line["event"] == event]


async def test_one_that_cannot_start_backs_off_and_says_why():
    said = await supervised([program(FAILS)], lambda said: len(of(said, "program_ended")) == 5)
    ended = of(said, "program_ended")
    assert {line["why"] for line in ended} == {"exit code 1: daedalus: the port is taken"}
    assert len(of(said, "program_started")) <= len(ended) + 1


async def test_waits_grow_to_the_longest(monkeypatch):
    waits = []
    monkeypatch.setattr(module.log, "error", lambda event, **more: waits.append(more["restart_in_seconds"]))
    monkeypatch.setattr(module, "round", lambda value, _: value, raising=False)
    missing = Program("gone", ("/nowhere/program",))
    await supervised([missing], lambda _: len(waits) > 6)
    assert all(0.5 * 0.01 * 2**n <= wait <= 0.01 * 2**n for n, wait in enumerate(waits[:3]))
    assert all(0.05 <= wait <= 0.1 for wait in waits[4:])


async def test_one_that_is_killed_is_started_again_and_its_neighbour_goes_on():
    def kill_once(said):
        started = [line["process"] for line in of(said, "program_started") if line["program"] == "one"]
        if len(started) == 1 and not killed:
            killed.append(started[0])
            os.kill(started[0], signal.SIGKILL)
        return len(started) == 2

    killed = []
    said = await supervised([program(SLEEPS), program(SLEEPS, "two")], kill_once)
    (ended,) = of(said, "program_ended")
    assert (ended["program"], ended["why"]) == ("one", "killed by SIGKILL")
    assert sorted(line["program"] for line in of(said, "program_stopped")) == ["one", "two"]
    assert {line["how"] for line in of(said, "program_stopped")} == {"killed by SIGTERM"}


async def test_one_that_hangs_is_killed_and_one_that_does_not_stop_too(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    hung = program(SLEEPS, "hung", hangs=lambda pid: "told nothing for 180 s")
    said = await supervised([hung], lambda said: len(of(said, "program_ended")) == 1)
    assert of(said, "program_ended")[0]["why"] == "it hung and was killed: told nothing for 180 s"
    up = tmp_path / "up"
    said = await supervised([program(STUBBORN.format(str(up)))], lambda _: up.exists(), stop_s=0.3)
    assert of(said, "program_killed") and of(said, "program_stopped")[0]["how"] == "killed by SIGKILL"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(*flags):
    done = CliRunner().invoke(app, ["service", "install", *flags])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.mark.parametrize("user", [[], ["--user"]])
def test_units_are_what_systemd_takes(here, user, monkeypatch):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there: install systemd")
    done = install(*user, "--folder", str(here / "units"), *MARKETS, *STORE, "--base-dir", "a 100% $new lake")
    names = sorted(path.name for path in (here / "units").iterdir())
    watchers = ["daedalus-watcher-ccxt.service", "daedalus-watcher-coinbase.service"]
    assert names == ["daedalus-collector.service", "daedalus-sync.service", "daedalus-sync.timer", *watchers]
    assert all(f"wrote {here / 'units' / name}" in done.stdout for name in names)
    assert "enable --now daedalus-collector.service daedalus-sync.timer" in done.stdout
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(here))
    command = ["systemd-analyze", "verify", *user, "--man=no", *(str(here / "units" / name) for name in names)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_recorder_is_watched_and_ends_in_order(here):
    text = install("--dry-run", "--only", "collector", "--account", "pi", *MARKETS).stdout
    for line in (
        "Type=notify",
        "WatchdogSec=180",
        "KillMode=mixed",
        "TimeoutStopSec=660",
        "User=pi",
        "MemoryMax=1200M",
    ):
        assert line in text.splitlines()
    assert not list(here.iterdir())


@pytest.mark.parametrize("command", [["service", "install", "--dry-run"], ["run"]])
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "coinbase.symbols is empty"),
        ([*MARKETS, "--only", "sync"], "storage.sync.destination is not set"),
        ([*MARKETS, "--only", "recorder"], "collector, sync, watcher"),
        ([*MARKETS, "--sources", "coinbse"], "no such source"),
    ],
)
def test_what_could_not_run_is_a_wrong_setting(here, command, flags, says):
    done = CliRunner().invoke(app, [*command, *flags])
    assert isinstance(done.exception, ConfigError) and says in str(done.exception)


def test_a_secret_does_not_get_into_a_unit(here):
    with pytest.raises(ConfigError, match=r"coinbase\.api_secret is a secret") as caught:
        install("--dry-run", *MARKETS, "--set", "coinbase.api_secret=hush")
    assert "hush" not in str(caught.value)


def test_a_folder_that_cannot_be_written_says_what_to_do(here):
    (here / "file").write_text("")
    with pytest.raises(StorageError, match="--user"):
        install("--folder", str(here / "file"), *MARKETS)


def test_a_recorder_that_tells_nothing_hangs_and_one_that_stops_does_not(here):
    config = load_config(None, {"storage.base_dir": str(here)}, environ={})
    folder = raw_paths(config, "coinbase").active
    folder.mkdir(parents=True)
    check = hang_check(config, ["ccxt", "coinbase"])
    now, old = SystemClock().now_ns(), SystemClock().now_ns() - 200 * NS_PER_SECOND
    cases = [
        ({"written_at": now}, None),
        ({"written_at": old}, "coinbase told nothing for 200 s"),
        ({"written_at": old, "phase": "stopping"}, None),
        ({"written_at": now, "beat_age_s": 99.0}, "coinbase: its writer did not go round for 99 s"),
    ]
    for values, why in cases:
        write_status(folder, made(source="coinbase", **values))
        assert check(os.getpid()) == why
        assert check(os.getpid() + 1) is None


def test_programs_are_called_as_the_command_line_wants_them(here):
    overrides = [*MARKETS[1::2], STORE[1]]
    (here / "c.yaml").write_text("ingestion: {batch_size: 7}\n")
    settings = settings_of(here / "c.yaml", Path("a lake"), overrides)
    found = programs(settings, None, None, here / "c.yaml", Path("a lake"), overrides)
    assert [one.name for one in found] == ["collector", "sync", "watcher coinbase", "watcher ccxt"]
    for one in found:
        words = list(one.command)
        parse(words[words.index("daedalus.cli.supervised") + 1 :])
        assert str(here / "c.yaml") in words and f"storage.base_dir={here / 'a lake'}" in words
    units = install("--dry-run", *MARKETS, *STORE, "--base-dir", "a 100% $new lake").stdout
    for line in re.findall(r"^ExecStart=(.*)$", units, flags=re.MULTILINE):
        words = shlex.split(line.replace("%%", "%").replace("$$", "$"))
        parse(words[words.index("daedalus.cli.main") + 1 :])
        assert f"storage.base_dir={here / 'a 100% $new lake'}" in words
