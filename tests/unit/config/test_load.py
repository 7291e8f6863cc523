"""Where values come from: defaults, file, environment, flags; and that settings survive being written and read."""

import json
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from daedalus.config.config import DaedalusConfig, load_config, permission_warning
from daedalus.config.dump import changed_values, render_config
from daedalus.config.environment import variable
from daedalus.config.ingestion import PARTITION_DEFAULT
from daedalus.config.keys import Key
from daedalus.shared.errors import ConfigError
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS
from tests.unit.config.values import PEM, flag_of, leaves, strategy


def write(directory: Path, text: str) -> Path:
    path = directory / "config.yaml"
    path.write_text(text)
    return path


def test_defaults_when_there_is_no_file() -> None:
    config = load_config(environ={}, default_path="/nonexistent/config.yaml")
    assert config.model_dump() == DaedalusConfig().model_dump()
    assert config.origins.file is None
    assert config.coinbase.symbols == []


def test_the_default_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    write(tmp_path / "config", "ingestion: {batch_size: 7}")
    config = load_config(environ={})
    assert config.ingestion.batch_size == 7
    assert str(config.origins.of(("ingestion", "batch_size"))) == "config/config.yaml:1"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; `daedalus config init --path .*nix.yaml` writes one"):
        load_config(tmp_path / "nix.yaml", environ={})


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "ingestion:\n  batch_size: 2\n  queue_maxsize: 2\n  segment_max_mb: 2\n")
    environ = {"DAEDALUS__INGESTION__BATCH_SIZE": "3", "DAEDALUS__INGESTION__QUEUE_MAXSIZE": "3"}
    config = load_config(path, {"ingestion.batch_size": 4}, environ=environ)
    ingestion = config.ingestion
    assert (ingestion.batch_size, ingestion.queue_maxsize, ingestion.segment_max_mb, ingestion.queue_max_mb) == (
        4,
        3,
        2,
        256,
    )
    assert [(key, origin) for key, _, origin in changed_values(config)] == [
        ("ingestion.batch_size", "command line"),
        ("ingestion.queue_maxsize", "DAEDALUS__INGESTION__QUEUE_MAXSIZE"),
        ("ingestion.segment_max_mb", f"{path}:4"),
    ]


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    config = load_config(overrides={"ingestion.batch_size": None}, environ={}, default_path="/nonexistent")
    assert config.ingestion.batch_size == 1000


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("COINBASE__SYMBOLS", '["BTC-USD"]', ["BTC-USD"]),
        ("coinbase__symbols", "[]", []),
        ("ETL__CHANNELS__ORDERBOOK__ENABLED", "false", False),
        ("ETL__CHANNELS__ORDERBOOK__PROCESSOR_OPTIONS__VPIN_BUCKET_VOLUME", "auto", "auto"),
        ("ETL__CHANNELS__ORDERBOOK__PROCESSOR_OPTIONS__VPIN_BUCKET_VOLUME", "2.5", 2.5),
        ("ETL__CHANNELS__ORDERBOOK__PROCESSOR_OPTIONS__TIGHT_SPREAD_THRESHOLD", "1e-4", 1e-4),
        ("LOGGING__LEVEL", "debug", "DEBUG"),
        ("LOGGING__FILE", "", None),
        ("CCXT__EXCHANGES__KRAKEN__API_KEY", "[not json", SecretStr("[not json")),
        ("CCXT__EXCHANGES__KRAKEN__CHANNELS", '{"watchTicker": ["A/B"]}', {"watchTicker": ["A/B"]}),
    ],
)
def test_environment(name: str, text: str, value: object) -> None:
    here: Any = load_config(environ={f"DAEDALUS__{name}": text}, default_path="/nonexistent")
    for part in name.lower().split("__"):
        here = here[part] if isinstance(here, dict) else getattr(here, part)
    assert here == value


def test_a_section_as_json_leaves_other_keys_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "ingestion: {batch_size: 2, queue_maxsize: 2}")
    environ = {"DAEDALUS__INGESTION": json.dumps({"batch_size": 3, "segment_max_mb": 3})}
    ingestion = load_config(path, environ=environ).ingestion
    assert (ingestion.batch_size, ingestion.queue_maxsize, ingestion.segment_max_mb) == (3, 2, 3)


def test_foreign_variables_are_left_alone() -> None:
    environ = {"DAEDALUS_TEST_DATA": "x", "DAEDALUSX__Y": "z", "PATH": "/bin"}
    assert load_config(environ=environ, default_path="/nonexistent").origins.places == {}


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "coinbase:\nstorage:\n  sync:\n", "\ufeffcoinbase: {}\n", "{}"]
)
def test_empty_files_and_empty_sections_are_defaults(tmp_path: Path, text: str) -> None:
    config = load_config(write(tmp_path, text), environ={})
    assert config.model_dump() == DaedalusConfig().model_dump()


def test_anchors_and_merges(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "ccxt:\n  exchanges:\n    a: &a\n      max_orderbook_depth: 7\n    b:\n      <<: *a\n      api_key: k\n",
    )
    exchanges = load_config(path, environ={}).ccxt.exchanges
    assert (exchanges["a"].max_orderbook_depth, exchanges["b"].max_orderbook_depth) == (7, 7)


def test_a_key_with_escaped_line_ends_becomes_pem() -> None:
    environ = {
        variable(("coinbase", "api_key")): "k",
        variable(("coinbase", "api_secret")): PEM.format(1).replace("\n", "\\n"),
    }
    secret = load_config(environ=environ, default_path="/nonexistent").coinbase.api_secret
    assert secret is not None
    assert secret.get_secret_value() == PEM.format(1)


def test_partition_default_is_the_one_of_the_layout() -> None:
    assert PARTITION_DEFAULT == DEFAULT_PARTITION_COLUMNS


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_warns_when_others_can_read_secrets(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, "storage: {sync: {source: {s3: {access_key_id: a, secret_access_key: b}}}}")
    path.chmod(mode)
    warning = permission_warning(load_config(path, environ={}))
    assert warning is None if mode == 0o600 else f"(mode 0644); run: chmod 600 {path}" in str(warning)


def test_no_warning_without_secrets_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "coinbase: {api_key: null}")
    environ = {variable(("ccxt", "exchanges", "kraken", "api_key")): "k"}
    assert permission_warning(load_config(path, environ=environ)) is None


def nested(values: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        here = data
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = value
    return data


PLAIN = [key for key in leaves() if not key.is_secret]


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    """A few keys with valid values, as a file holds them; rules about two keys may still refuse them."""
    keys: list[Key] = draw(st.lists(st.sampled_from(PLAIN), max_size=8, unique_by=lambda key: key.path))
    return nested({flag_of(key): draw(strategy(key), label=flag_of(key)) for key in keys})


@hypothesis.settings(max_examples=50)
@given(settings())
def test_writing_and_reading_gives_the_same(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    try:
        wanted = DaedalusConfig.model_validate(data)
    except ValidationError:
        assume(False)
    directory = tmp_path_factory.mktemp("config")
    read = load_config(write(directory, yaml.safe_dump(data, allow_unicode=True)), environ={})
    assert read.model_dump() == wanted.model_dump()
    assume("options" not in str(data))  # whose texts are hidden when shown
    again = load_config(write(directory, render_config(read, with_origins=True)), environ={})
    assert again.model_dump() == wanted.model_dump()
