"""One recorder, supervised and watched from outside: status, metrics, health, restarts, what it tells systemd."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from typer.testing import CliRunner

from daedalus.cli.main import app
from daedalus.ingestion.monitoring.metrics import METRICS
from daedalus.ingestion.monitoring.status import Status, born, write_status
from daedalus.sandbox.server import SandboxServer, in_thread
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.errors import ConfigError
from daedalus.testing.lake import read_channel, unfinished
from tests.end_to_end.test_ingest import command, wait_until

MADE = {"version": "1", "source": "coinbase", "phase": "recording", "started_at": 1, "written_at": 1, "interval_s": 5.0}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Recorder:
    """A recorder under a service manager: this test."""

    def __init__(self, base, url):
        self.base, self.port = base, free_port()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(base / "notify"))
        self.told, self.url = [], url
        flags = [f"metrics.port={self.port}", "metrics.status_interval_seconds=0.2"]
        words = [*command(base, url, symbols="[BTC-USD,ETH-USD]")[2:], *(w for f in flags for w in ("--set", f))]
        self.log = base / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daedalus.cli.main", "run", "--only", "collector", *words],
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(base / "notify")},
            )

    def hear(self, seconds):
        """Return what comes within that time, as soon as something does."""
        self.socket.settimeout(seconds)
        try:
            text = self.socket.recv(4096).decode()
        except TimeoutError:
            return None
        self.told.append(text)
        return text

    @property
    def pid(self):
        """The recorder's own process: the one that was started is its supervisor."""
        return json.loads(self.status("--json").stdout)["recorders"][0]["pid"]

    def status(self, *flags):
        return CliRunner().invoke(app, ["status", "--base-dir", str(self.base), *flags])

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def close(self):
        self.process.terminate()
        self.process.wait(60)
        self.socket.close()


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    base = tmp_path_factory.mktemp("lake")
    with in_thread(SandboxServer("coinbase", SyntheticSource(seed=3, rate=50))) as server:
        made = Recorder(base, server.url)
        try:
            wait_until(lambda: made.hear(1.0) == "READY=1", 60)
            wait_until(lambda: json.loads(made.status("--json").stdout)["is_well"], 60)
            wait_until(lambda: 'channel="l2"' in made.ask("/metrics")[1], 60)
            yield made
        finally:
            made.close()


def test_status_shows_a_running_recorder(recorder):
    wait_until(lambda: json.loads(recorder.status("--json").stdout)["recorders"][0]["rows"].get("trades"))
    done = recorder.status()
    assert done.exit_code == 0, done.output
    assert re.search(rf"^coinbase: recording for .*, process {recorder.pid}$", done.stdout, re.MULTILINE)
    assert "1 of 1 deliver" in done.stdout and re.search(r" l2 +[\d,]+ +[\d,.]+  .* ago \(coinbase\)", done.stdout)
    seen = json.loads(recorder.status("--json").stdout)["recorders"][0]
    assert (seen["liveness"], seen["faults"]) == ("running", [])
    assert seen["rows_per_second"]["l2"] > 0 and seen["heard"]["coinbase/l2"] > seen["started_at"]
    assert seen["journal"]["bytes"] > 0 and seen["disk"]["free_bytes"] > 0


def test_status_goes_on_when_it_is_to_watch(recorder):
    flags = ["status", "--base-dir", str(recorder.base), "--watch", "--interval", "0.2"]
    process = subprocess.Popen([sys.executable, "-m", "daedalus.cli.main", *flags], stdout=subprocess.PIPE, text=True)
    screens = (line for line in process.stdout if line.startswith("coinbase: recording"))
    assert next(screens) and next(screens)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_metrics_are_those_that_are_declared(recorder):
    code, text = recorder.ask("/metrics")
    assert code == 200
    assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) >= {metric.name for metric in METRICS}
    for line in text.splitlines():
        assert line.startswith("# ") or re.fullmatch(r'\w+(\{(\w+="[^"]*",?)+\})? \S+', line), line
    before = float(re.search(r'daedalus_rows_total\{source="coinbase",channel="l2"\} (\S+)', text)[1])
    pattern = r'daedalus_rows_total\{source="coinbase",channel="l2"\} (\S+)'
    wait_until(lambda: float(re.search(pattern, recorder.ask("/metrics")[1])[1]) > before)
    assert [recorder.ask(path) for path in ("/healthz", "/readyz")] == [(200, "ok\n")] * 2
    assert json.loads(recorder.ask("/status")[1])[0]["pid"] == recorder.pid


def test_a_port_that_is_taken_is_a_wrong_setting(recorder, tmp_path):
    flags = [*command(tmp_path, recorder.url)[2:], "--set", f"metrics.port={recorder.port}"]
    done = CliRunner().invoke(app, ["ingest", *flags])
    assert isinstance(done.exception, ConfigError)
    assert "metrics.port" in str(done.exception) and str(recorder.port) in str(done.exception)
    assert not (tmp_path / "raw").exists()


def test_a_recorder_that_hangs_stops_telling_that_it_lives(recorder):
    wait_until(lambda: (recorder.hear(5.0) or "").startswith("WATCHDOG=1"))
    pid = recorder.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        # What was sent before it stopped is still to be read; then nothing comes.
        wait_until(lambda: recorder.hear(2.0) is None)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: (recorder.hear(5.0) or "").startswith("WATCHDOG=1\nSTATUS=coinbase: "))


def test_a_recorder_that_is_killed_is_started_again(recorder):
    killed = recorder.pid
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: recorder.pid != killed and recorder.status().exit_code == 0, 60)
    said = recorder.log.read_text()
    assert "program_ended" in said and "killed by SIGKILL" in said and "journal_left_behind" in said


def test_an_end_in_order_is_told_and_shown(recorder):
    recorder.process.send_signal(signal.SIGTERM)
    wait_until(lambda: recorder.hear(5.0) == "STOPPING=1", 60)
    assert recorder.process.wait(60) == 0
    done = recorder.status()
    assert done.exit_code == 1 and "nothing records into" in done.stdout
    assert re.search(r"^coinbase: stopped .* ago$", done.stdout, re.MULTILINE)


def test_when_the_supervisor_is_killed_the_recorder_ends_in_order(recorder, tmp_path):
    orphan = Recorder(tmp_path, recorder.url)
    try:
        wait_until(lambda: orphan.hear(1.0) == "READY=1", 60)
        orphan.process.kill()
        wait_until(lambda: re.search("coinbase: (stopped|died)", orphan.status().stdout))
    finally:
        orphan.close()
    assert "coinbase: stopped" in orphan.status().stdout
    assert not unfinished(tmp_path)
    assert read_channel(tmp_path, "gaps")["reason"].unique().to_list() == ["shutdown"]


def test_one_that_died_is_told_from_one_that_was_stopped(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        gone = Status(**{**MADE, "pid": process.pid, "pid_born": born(process.pid)})
    folder = tmp_path / "raw" / "active" / "coinbase"
    folder.mkdir(parents=True)
    write_status(folder, gone)
    done = CliRunner().invoke(app, ["status", "--base-dir", str(tmp_path)])
    assert done.exit_code == 1 and "nothing records into" in done.stdout and "coinbase: died" in done.stdout


def test_an_empty_lake_says_so(tmp_path):
    done = CliRunner().invoke(app, ["status", "--base-dir", str(tmp_path)])
    assert done.exit_code == 1 and "nothing has recorded into" in done.stdout and "daedalus ingest" in done.stdout
