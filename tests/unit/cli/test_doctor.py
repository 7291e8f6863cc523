"""The doctor: every fault that is made is found, with what to do; a healthy lake has none."""

import json
import os
import shutil
import socket
from collections import Counter
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from daedalus.cli.doctor import machine, network, setup
from daedalus.cli.doctor.command import lines
from daedalus.cli.doctor.findings import Finding, examined, graded
from daedalus.cli.main import app
from daedalus.config.config import load_config
from daedalus.ingestion.collectors.ccxt_collector import socket_of
from daedalus.ingestion.writers.base import RawPaths
from daedalus.storage.ledger import Ledger, lake_segments
from tests.unit.config.values import PEM
from tests.unit.ingestion.lakes import sealed_lake
from tests.unit.storage.lakes import make_lake

MARKETS = ["--set", "coinbase.symbols=[BTC-USD]"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Whatever else this machine does is not what is tested.
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    return tmp_path


@pytest.fixture
def lake(here):
    """A small lake with its ledger, as a recorder that ended in order left it."""
    sealed_lake(here / "lake", "parquet")
    with Ledger(here / "lake") as ledger:
        ledger.record_sealed(list(lake_segments(here / "lake")))
    return here / "lake"


def examine(base, *flags):
    """Return the findings by check, and the exit code."""
    done = CliRunner().invoke(app, ["doctor", "--base-dir", str(base), "--json", *flags])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    whole = json.loads(done.stdout)
    found = [Finding(one["level"], one["check"], one["text"], one["fix"]) for one in whole["findings"]]
    assert all((finding.level == "ok") == (finding.fix is None) for finding in found)
    assert Counter(finding.level for finding in found) == {k: n for k, n in whole["counts"].items() if n}
    assert done.exit_code == (1 if whole["counts"]["fail"] else 0) and whole["is_well"] == (done.exit_code == 0)
    return found


def bad(found, level="fail"):
    return [(finding.check, finding.text) for finding in found if finding.level == level]


def test_a_healthy_lake_has_no_failure(lake):
    found = examine(lake, "--offline", *MARKETS)
    assert bad(found) == []
    assert {"python", "processor", "settings", "markets", "keys", "disk", "sync", "journals", "segments"} <= {
        finding.check for finding in found
    }
    assert "of them read" in next(finding.text for finding in found if finding.check == "segments")


def test_it_changes_nothing(lake):
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file() and "sqlite" not in path.name}
    examine(lake, "--offline", *MARKETS)
    after = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file() and "sqlite" not in path.name}
    assert after == before


def test_segments_that_are_gone_cut_or_damaged_are_named(here):
    make_lake(here / "lake", 6, silver=False)
    gone, cut, *_ = sorted(lake_segments(here / "lake"))
    gone.unlink()
    cut.write_bytes(b"short")
    texts = [text for check, text in bad(examine(here / "lake", "--offline", *MARKETS)) if check == "segments"]
    assert any("1 of the newest 6 are gone" in text and gone.name in text for text in texts)
    assert any("another size" in text and cut.name in text for text in texts)
    # Random bytes are no Parquet: some of the newest were read.
    assert len(texts) > 2


def test_a_journal_that_nobody_seals_is_told(here):
    _, data = sealed_lake(here / "other", "parquet", end=False)
    paths = RawPaths(here / "lake", "coinbase")
    paths.active.mkdir(parents=True)
    (paths.active / "20250619T140000000000000Z-00000007.journal").write_bytes(data)
    (warning,) = [f for f in examine(here / "lake", "--offline", *MARKETS) if f.check == "journals"]
    assert warning.level == "warn" and "coinbase" in warning.text and "daedalus recover" in warning.fix


@pytest.mark.parametrize(
    ("flags", "check", "says"),
    [
        (["--set", "coinbase.symbls=[X]"], "settings", "symbols"),
        ([], "markets", "coinbase.symbols is empty"),
        ([*MARKETS, "--set", "coinbase.api_key=a", "--set", "coinbase.api_secret=hush"], "settings", "EC private key"),
    ],
)
def test_wrong_settings_are_failures_beside_the_others(here, flags, check, says):
    found = examine(here / "lake", "--offline", *flags)
    assert any(name == check and says in text for name, text in bad(found)), bad(found)
    assert "hush" not in str(found) and any(finding.check == "processor" for finding in found)


def test_a_key_that_cannot_sign_is_told_without_it():
    flags = {"coinbase.api_key": "name", "coinbase.api_secret": PEM.format("hush")}
    (finding,) = setup.keys(load_config(None, flags, environ={}))
    assert finding.level == "fail" and "cannot sign" in finding.text and "hush" not in finding.text


def test_a_lake_that_cannot_be_is_told(here):
    (here / "lake").write_text("a file")
    assert any(check == "disk" and "is a file" in text for check, text in bad(examine("lake", "--offline", *MARKETS)))


def test_hosts_are_reached_or_not(here):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config = load_config(
            None, {"coinbase.symbols": ["A-B"], "coinbase.ws_url": f"ws://127.0.0.1:{port}"}, environ={}
        )
        (reached,) = network.exchanges(config)
    (refused,) = network.exchanges(config)
    assert (reached.level, refused.level) == ("ok", "fail")
    assert f"127.0.0.1:{port}" in refused.text and "refused" in refused.text.lower()


def test_the_store_of_the_sync(here):
    def of(**more):
        flags = {f"storage.sync.destination.{name}": value for name, value in more.items()}
        return [(f.level, f.text) for f in network.store(load_config(None, flags, environ={}))]

    assert "not set" in of()[0][1]
    assert of(base_dir=str(here)) == [("ok", str(here))]
    assert of(base_dir=str(here / "gone"))[0][0] == "fail"
    s3 = {"backend": "s3", "s3.bucket": "b", "s3.access_key_id": "a", "s3.secret_access_key": "hush"}
    ((level, text),) = of(**s3, **{"s3.endpoint_url": "http://127.0.0.1:9", "s3.region": "x"})
    assert level == "fail" and "hush" not in text


def test_a_slow_or_full_disk_is_told(here, monkeypatch):
    config = load_config(None, {"storage.base_dir": str(here)}, environ={})
    monkeypatch.setattr(setup, "SYNC_MS_SLOW", 0.0)
    assert [f.level for f in setup.disk(config) if f.check == "sync"] == ["warn"]
    monkeypatch.setattr(setup, "FREE_GB_LEAST", 1e9)
    assert "fail" in [f.level for f in setup.disk(config) if f.check == "disk"]


def test_machines_that_will_not_do(here, monkeypatch):
    monkeypatch.setattr(machine.platform, "machine", lambda: "armv7l")
    assert [f.level for f in machine.processor()] == ["fail"]
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (256, 4096))
    assert [f.level for f in machine.limits()] == ["warn"]
    answers = {"yes": "ok", "no": "warn", "": "warn"}
    for answer, level in answers.items():
        program = here / "timedatectl"
        program.write_text(f"#!/bin/sh\necho {answer}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")
        assert shutil.which("timedatectl") == str(program)
        assert [f.level for f in machine.clock()] == [level]


def test_a_check_that_fails_takes_no_other_along():
    def broken():
        yield Finding("ok", "a", "b")
        raise ValueError("no such file")

    good, told = examined("a", broken)
    assert good.level == "ok" and told.level == "fail" and "ValueError: no such file" in told.text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_fit(width):
    finding = graded("disk", 2.0, "some words " * 20, warn_at=1.0, fail_at=3.0, fix="do this and that " * 8)
    shown = lines(finding, width)
    assert max(map(len, shown)) <= width and shown[0].startswith("warn  disk") and any("-> do" in one for one in shown)


@pytest.mark.parametrize("exchange", ["bybit", "kraken"])
def test_addresses_of_ccxt_name_a_host(exchange):
    host = urlsplit(socket_of(exchange)).hostname
    assert host and exchange in host and "{" not in host
