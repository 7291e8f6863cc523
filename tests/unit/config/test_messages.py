"""What users read when something is wrong: place, key, what was given, what is allowed; never a secret."""

from pathlib import Path

import pytest

from daedalus.config.config import ConfigProblemsError, load_config
from daedalus.config.keys import Key
from daedalus.shared.errors import ConfigError
from tests.unit.config.values import flag_of, leaves

SECRET = "hush-hush-7f3a"
OPTIONS = "etl: {channels: {orderbook: {processor_options: {%s}}}}"


def fault(tmp_path: Path, text: str | bytes, environ: dict[str, str] | None = None) -> str:
    """Return the message for a file, with the file called `f`."""
    path = tmp_path / "f"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ=environ or {})
    return str(caught.value).replace(str(path), "f")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\ningestion:\n  batch_sise: 5\n", "f:3: ingestion.batch_sise: unknown key; did you mean batch_size?"),
        ("coinbse:\n", "f:1: coinbse: unknown key; did you mean coinbase?"),
        ("batch_size: 5", "f:1: batch_size: unknown key; did you mean ingestion.batch_size?"),
        ("logging: {zzz: 5}", "f:1: logging.zzz: unknown key; known here: level, format, file"),
        (
            "ccxt:\n  exchanges:\n    kraken: {apikey: 1}",
            "f:3: ccxt.exchanges.kraken.apikey: unknown key; did you mean api_key?",
        ),
        ("ingestion: {batch_size: 0}", "f:1: ingestion.batch_size: given 0; allowed: a whole number from 1 to 1000000"),
        (
            "ingestion: {batch_size: yes}",
            "f:1: ingestion.batch_size: given true; allowed: a whole number from 1 to 1000000",
        ),
        (
            "ingestion: {batch_size: .nan}",
            "f:1: ingestion.batch_size: given nan; allowed: a whole number from 1 to 1000000",
        ),
        ("ingestion: {flush_interval_seconds: .inf}", "given inf; allowed: a number from 0.05 to 3600"),
        ("ingestion: {raw_format: parket}", "given 'parket'; allowed: one of parquet, ndjson; did you mean parquet?"),
        ("ingestion: 5", "f:1: ingestion: given 5; allowed: a mapping of keys"),
        ("ingestion: [batch_size]", "f:1: ingestion: given a list; allowed: a mapping of keys"),
        ("coinbase: {symbols: BTC-USD}", "f:1: coinbase.symbols: given 'BTC-USD'; allowed: a list, each entry text"),
        (
            "coinbase:\n  symbols:\n    - BTC-USD\n    - 5",
            "f:4: coinbase.symbols[1]: given 5; allowed: text; put it in quotes",
        ),
        (
            "coinbase: {symbols: [btc/usd]}",
            "f:1: coinbase.symbols[0]: 'btc/usd' is not how Coinbase spells a product; try BTC-USD",
        ),
        ("coinbase: {symbols: [A, A]}", "f:1: coinbase.symbols: names A twice"),
        ("coinbase: {channels: []}", "f:1: coinbase.channels: needs at least 1 entry"),
        (
            "coinbase: {channels: [trade]}",
            "f:1: coinbase.channels[0]: given 'trade'; allowed: one of ticker, trades, l2, orderbook,",
        ),
        ("coinbase: {exchange: a/b}", "f:1: coinbase.exchange: cannot be one directory name as it stands; 'a-b' can"),
        (
            "coinbase: {ws_url: 'ws://example.com'}",
            "must start with wss:// - unencrypted ws:// is for 127.0.0.1, ::1 and localhost",
        ),
        ("coinbase: {ws_url: 'ws://127.0.0.1.example.com'}", "must start with wss://"),
        ("coinbase: {ws_url: 'https://example.com'}", "must be a wss:// URL with a host"),
        ("coinbase: {ws_url: 'wss://u:p@example.com'}", "must not hold a user name or password"),
        ("coinbase: {ws_url: 'wss://h:99999'}", "f:1: coinbase.ws_url: is not a URL"),
        (
            "coinbase: {api_key: k}",
            "f:1: coinbase.api_key: api_key and api_secret belong together: set both or neither",
        ),
        ("coinbase: {reconnect_delay_seconds: 90}", "reconnect_delay_max_seconds (60) must not be below"),
        ("ccxt: {exchanges: {a: {channels: {watchTrade: [b]}}}}", "did you mean watchTrades?"),
        ("storage: {base_dir: 's3://b'}", "f:1: storage.base_dir: must be a local directory"),
        ("storage: {sync: {source: {backend: s3}}}", "f:1: storage.sync.source.backend: backend s3 needs s3.bucket"),
        ("storage: {sync: {source: {s3: {prefix: /a}}}}", "must be a relative key such as lake/pi-4"),
        ("storage: {sync: {source: {s3: {endpoint_url: 'http://h'}}}}", "must start with https://"),
        (
            "ingestion: {partition_by: [exchange, symbol]}",
            "f:1: ingestion.partition_by: lacks year, month, day (or `date` for",
        ),
        ("ingestion: {partition_by: [exchange, date]}", "f:1: ingestion.partition_by: lacks symbol"),
        ("ingestion: {partition_by: [exchange, symbol, date, day]}", "has day without year and month"),
        ("ingestion: {parquet_compression: gzip, parquet_compression_level: 12}", "(12) goes to 9 for gzip"),
        (OPTIONS % "ofi_levels: 30", "processor_options.ofi_levels: ofi_levels (30) must not exceed max_levels (20)"),
        (OPTIONS % "max_levels: 5", "processor_options.max_levels: ofi_levels (10) must not exceed max_levels (5)"),
        (
            OPTIONS % "spread_tight_percentile: 0.9",
            "spread_tight_percentile (0.9) must be below spread_wide_percentile (0.8)",
        ),
        (OPTIONS % "horizons: [5, 1]", "processor_options.horizons: must ascend, each entry once; in order: 1, 5"),
        (OPTIONS % "bands_bps: [5, 5]", "must ascend"),
        (OPTIONS % "bar_durations: [0]", "bar_durations[0]: given 0; allowed: a whole number from 1 to 86400"),
        (OPTIONS % "vpin_bucket_volume: much", "given 'much'; allowed: a number above 0, at most 1000000000 or auto"),
        (OPTIONS % "kyle_lambda_window: 17", "given 17; allowed: a multiple of 5 seconds"),
        ("a: 1\n\na: 2\n", "f:3: a: stands twice, first in line 1; keep one"),
        ("ingestion:\n  batch_size: 1\n  batch_size: 2\n", "f:3: ingestion.batch_size: stands twice, first in line 2"),
        ("on: 1", "f:1: a key is not text; put it in quotes"),
        (
            "coinbase:\n\tsymbols: []",
            "f:2: column 1: not valid YAML: while scanning for the next token, found character '\\t'",
        ),
        ("coinbase: {symbols: [A\nx: y", "f:2: column 2: not valid YAML: "),
        ("coinbase: {exchange: !!python/name:os.system }", "f:1: coinbase.exchange: is not a plain value"),
        ("coinbase: {symbols: !!set {A}}", "f:1: coinbase.symbols: is not a plain value"),
        ("coinbase: {exchange: 2025-13-45}", "f:1: coinbase.exchange: is not a plain value; put it in quotes"),
        ("- a", "f: must be a mapping of sections"),
        ("hello", "f: must be a mapping of sections"),
        ("a: 1\n---\nb: 2", "f:2: column 1: not valid YAML: expected a single document"),
        (b"\nx: \xff\xfe", "f:2: not UTF-8 text; save the file in UTF-8"),
        ("\nx: \x01", "f:2: holds the control character U+0001; remove it"),
        ("[" * 40_000, "f: nested too deeply"),
        ("{a: " * 40 + "1" + "}" * 40, "nested too deeply, or too many aliases"),
        ("a: &a {b: *a}", "nested too deeply, or too many aliases"),
        ("x" * (1 << 20) + "x", "f: larger than 1 MiB"),
    ],
)
def test_words(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in fault(tmp_path, text)


def test_few_aliases_cannot_make_a_large_document(tmp_path: Path) -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too many aliases" in fault(tmp_path, "\n".join(lines))


def test_everything_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "logging: {level: loud}\ningestion:\n  batch_sise: 1\n  batch_size: 1\n  batch_size: 0\n"
    environ = {"DAEDALUS__INGESTION__QUEUE_MAXSIZE": "many"}
    lines = fault(tmp_path, text, environ).splitlines()
    assert lines[0] == "5 things are wrong in the configuration:"
    places = [line.split(": ")[0].strip() for line in lines[1:]]
    assert places == ["f:1", "f:3", "f:5", "f:5", "DAEDALUS__INGESTION__QUEUE_MAXSIZE"]


def test_one_problem_is_one_line(tmp_path: Path) -> None:
    assert len(fault(tmp_path, "coinbse: 1").splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("INGESTION__BATCH_SISE", "1", "unknown key; did you mean DAEDALUS__INGESTION__BATCH_SIZE?"),
        ("BATCH_SIZE", "1", "unknown key; did you mean DAEDALUS__INGESTION__BATCH_SIZE?"),
        ("INGESTION__BATCH_SIZE", "0", "ingestion.batch_size: given '0'; allowed: a whole number from 1 to 1000000"),
        ("INGESTION__BATCH_SIZE", "", "ingestion.batch_size: given ''; allowed: a whole number from 1 to 1000000"),
        ("COINBASE__SYMBOLS", "BTC-USD", "must be JSON, such as DAEDALUS__COINBASE__SYMBOLS='[\"BTC-USD\"]'"),
        ("COINBASE__SYMBOLS__X", "1", "unknown key; it has no keys of its own"),
        ("COINBASE", '{"nix": 1}', "coinbase.nix: unknown key"),
        ("", "1", "unknown key; known here: coinbase"),
    ],
)
def test_words_about_variables(tmp_path: Path, name: str, text: str, words: str) -> None:
    message = fault(tmp_path, "", {f"DAEDALUS__{name}": text})
    assert message.startswith(f"DAEDALUS__{name}: ")
    assert words in message


def test_words_about_flags() -> None:
    with pytest.raises(
        ConfigError, match=r"^command line: ingestion\.batch_sise: unknown key; did you mean batch_size\?$"
    ):
        load_config(overrides={"ingestion.batch_sise": 1}, environ={}, default_path="/nonexistent")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, environ={})


SECRETS = [key for key in leaves() if key.is_secret]


@pytest.mark.parametrize("key", SECRETS, ids=flag_of)
@pytest.mark.parametrize(
    "value", [SECRET, f"[{SECRET}]", f"{{{SECRET}: {SECRET}}}", f"*{SECRET}", f"!{SECRET} x", f'"{SECRET}']
)
def test_no_message_about_a_secret_holds_it(tmp_path: Path, key: Key, value: str) -> None:
    *sections, name = flag_of(key).split(".")
    text = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(sections))
    text += f"{'  ' * len(sections)}{name}: {value}\nnix: 1\n"
    assert SECRET not in fault(tmp_path, text)


def test_problems_can_be_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("a: 1\nb: 2\n")
    with pytest.raises(ConfigProblemsError) as caught:
        load_config(path, environ={})
    assert [(problem.path, problem.origin and problem.origin.line) for problem in caught.value.problems] == [
        (("a",), 1),
        (("b",), 2),
    ]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
