"""`daedalus config` and the script that prints the flow, as users run them."""

import os
import runpy
import stat
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from daedalus.cli import wiring
from daedalus.cli.config import app
from daedalus.cli.config_flow import unwritable
from daedalus.config.private_file import write_private
from daedalus.config.template import render_template
from daedalus.shared.errors import ConfigError
from tests.unit.config.values import PEM

ROOT = Path(__file__).resolve().parents[3]
SECRETS = ["hush-key", "not a real key", "kraken-hush", "option-hush"]
WITH_SECRETS = f"""
coinbase:
  symbols: [BTC-USD, ETH-USD]
  api_key: hush-key
  api_secret: {PEM.format(1)!r}
ccxt:
  exchanges:
    kraken:
      api_key: kraken-hush
      channels: {{watchTrades: [BTC/USD]}}
      options: {{note: option-hush, deep: [option-hush], limit: 5}}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty directory, without variables of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DAEDALUS__")]:
        monkeypatch.delenv(name)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, ConfigError)
    return str(result.exception)


def write(text: str, mode: int = 0o600) -> str:
    path = Path("c.yaml")
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_init_writes_the_template_for_the_owner_only() -> None:
    result = run("init")
    path = Path("config/config.yaml")
    assert result.exit_code == 0
    assert "coinbase.symbols" in result.stdout
    assert path.read_text() == render_template()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run("check").exit_code == 0


def test_init_overwrites_only_when_told() -> None:
    path = Path(write("mine: 1"))
    assert refused("init", "--path", str(path)) == "c.yaml exists and was left as it is; --force replaces it"
    assert path.read_text() == "mine: 1"
    assert run("init", "--path", str(path), "--force").exit_code == 0
    assert path.read_text() == render_template()
    assert [entry.name for entry in Path.cwd().iterdir()] == ["c.yaml"]


def test_init_says_where_it_cannot_write() -> None:
    Path("file").touch()
    assert "file/c.yaml cannot be written" in refused("init", "--path", "file/c.yaml")
    Path("directory").mkdir()
    assert "directory cannot be written: Is a directory" in refused("init", "--path", "directory", "--force")
    assert sorted(entry.name for entry in Path.cwd().iterdir()) == ["directory", "file"]


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="exists"):
        write_private(link, "text")
    assert not (tmp_path / "target").exists()


def test_check_says_what_runs() -> None:
    result = run("check", "--config", write("coinbase: {symbols: [BTC-USD]}\nccxt: {exchanges: {kraken: }}"))
    assert result.exit_code == 0
    assert "OK: c.yaml\n  records ticker, trades, l2, orderbook of BTC-USD from Coinbase\n" in result.stdout
    assert "  records ticker, trades, orderbook of nothing from kraken (ccxt)\n" in result.stdout


def test_check_says_when_nothing_would_be_recorded() -> None:
    assert "records nothing: coinbase.symbols and ccxt.exchanges are empty" in run("check").stdout


def test_check_names_all_errors() -> None:
    message = refused("check", "--config", write("coinbse: 1\ningestion: {batch_size: 0}"))
    assert message.startswith("2 things are wrong")


def test_check_refuses_what_this_version_cannot_do() -> None:
    text = "storage:\n  ingestion_storage: {backend: s3, s3: {bucket: b}}\n"
    assert "c.yaml:2: storage.ingestion_storage.backend: recordings" in refused("check", "--config", write(text))


def test_check_warns_about_readable_secrets() -> None:
    assert "others can read it" in run("check", "--config", write(WITH_SECRETS, 0o640)).stderr
    assert run("check", "--config", write(WITH_SECRETS, 0o600)).stderr == ""


def test_show_is_yaml_that_gives_the_same_settings() -> None:
    result = run("show", "--config", write("ingestion: {batch_size: 7}"), "--set", "logging.level=debug")
    shown = yaml.safe_load(result.stdout)
    assert (shown["ingestion"]["batch_size"], shown["logging"]["level"]) == (7, "DEBUG")
    assert run("show", "--config", write(result.stdout)).stdout == result.stdout


def test_show_says_where_values_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAEDALUS__LOGGING__FORMAT", "json")
    path = write("ingestion:\n  batch_size: 7\n  queue_maxsize: 50000\n")
    lines = run("show", "--config", path, "--origins", "--set", "logging.level=debug").stdout.splitlines()
    assert [line.strip() for line in lines if "#" in line] == [
        "batch_size: 7  # c.yaml:2",
        "level: DEBUG  # command line",
        "format: json  # DAEDALUS__LOGGING__FORMAT",
    ]


@pytest.mark.parametrize("command", [["check"], ["show"], ["show", "--origins"], ["flow"]], ids=" ".join)
def test_no_secret_is_ever_shown(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAEDALUS__STORAGE__SYNC__SOURCE__S3__SESSION_TOKEN", "token-hush")
    result = run(*command, "--config", write(WITH_SECRETS, 0o644))
    assert result.exception is None
    for secret in [*SECRETS, "token-hush"]:
        assert secret not in result.output
    if "show" in command:
        assert "api_key: '**********'" in result.output


def test_flow_shows_every_stage() -> None:
    text = "coinbase: {symbols: [BTC-USD, ETH-USD], symbols_per_connection: 1}\n"
    text += "ingestion: {partition_by: [exchange, symbol, date]}"
    market = "exchange=coinbase/symbol=BTC-USD"
    result = run("flow", "--config", write(text))
    assert result.exit_code == 0, result.output
    for words in (
        "symbols                        [BTC-USD, ETH-USD]",
        "2 (up to 1 symbols each)",
        "queue_maxsize                  50000",
        f"-> data/raw/ready/coinbase/trades/{market}/date=2025-06-19/segment_....parquet\n",
        f"-> data/processed/coinbase/orderbook/silver/{market}/year=2025/month=06/day=19/hour=14\n",
        f"-> data/processed/coinbase/bars/gold/duration=60/{market}/year=2025/month=06/day=19/hour=14\n",
        "ofi_levels                     10",
        " columns\n",
        "The flow works.",
    ):
        assert words in result.stdout
    assert not Path("data").exists()


def test_flow_shows_the_exchanges_of_ccxt() -> None:
    kraken = "kraken: {channels: {watchTrades: ['*/USD', ETH/USD]}, record: [trades, frames], options: {a: hush}}"
    okx = "okx: {exchange: my-okx, channels: {watchOrderBook: [BTC/USDT]}, record: [l2]}"
    result = run("flow", "--config", write(f"ccxt: {{exchanges: {{{kraken}, {okx}}}}}"))
    assert result.exit_code == 0, result.output
    for words in (
        "CcxtCollector of kraken",
        "CcxtCollector of okx",
        "channels                       {watchTrades: ['*/USD', ETH/USD]}",
        "-> data/raw/ready/ccxt/frames/exchange=kraken/symbol=ETH-USD/",
        "-> data/raw/ready/ccxt/l2/exchange=my-okx/symbol=BTC-USDT/",
        "-> data/processed/ccxt/trades/silver/exchange=kraken/symbol=ETH-USD/",
    ):
        assert words in result.stdout
    assert "hush" not in result.stdout and "coinbase" not in result.stdout.lower()


def test_an_unknown_exchange_is_named_with_its_line_and_the_nearest_ones() -> None:
    result = run("check", "--config", write("ccxt:\n  exchanges:\n    okxx: {channels: {watchTrades: [BTC/USDT]}}"))
    assert result.exit_code == 2 or result.exception is not None
    told = str(result.exception)
    assert "c.yaml:3: ccxt.exchanges.okxx: CCXT knows no such exchange; did you mean okx" in told


def test_flow_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cases = {
        "{}": "nothing to record: coinbase.symbols is empty; set it in c.yaml",
        "coinbse: {}": "c.yaml:1: coinbse: unknown key; did you mean coinbase?",
        "ccxt: {exchanges: {okxx: {channels: {watchTrades: [BTC/USDT]}}}}": "okxx: CCXT knows no such exchange",
        "ccxt: {exchanges: {okx: {channels: {}}}}": "is empty: name methods and symbols",
        "storage: {base_dir: file/lake}": "storage.ingestion_storage: file/lake cannot be a directory",
    }
    if Path("/proc/self").exists():
        cases["storage: {paths: {state_dir: /proc/x}}"] = "storage.paths.state_dir: /proc/x cannot be written"
    for text, reason in cases.items():
        result = run("flow", "--config", write(text))
        assert result.exit_code == 1
        assert reason in result.stderr


def test_the_script_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["test_config_flow.py", "--config", write("coinbase: {symbols: [BTC-USD]}")])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / "scripts" / "test_config_flow.py"), run_name="__main__")
    assert caught.value.code == 0
    assert "The flow works." in capsys.readouterr().out


def test_writable_directories_leave_no_trace(tmp_path: Path) -> None:
    assert unwritable(tmp_path / "a" / "b") is None
    assert list(tmp_path.iterdir()) == []


def test_wiring_reveals_secrets_to_the_collector_only() -> None:
    from daedalus.config.config import load_config

    config = load_config(write(WITH_SECRETS), environ={})
    assert wiring.collector_options(config)["api_key"] == "hush-key"
    assert "hush" not in repr(config)
    assert "hush" not in str(config.model_dump(mode="json", exclude={"ccxt": {"exchanges": {"kraken": {"options"}}}}))
