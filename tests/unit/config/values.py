"""Another valid value for any key, and Hypothesis strategies of valid ones, both derived from the models."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from hypothesis import strategies as st
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from daedalus.config.config import DaedalusConfig
from daedalus.config.keys import Key, alternatives, members, walk

PEM = "-----BEGIN EC PRIVATE KEY-----\nnot a real key {}\n-----END EC PRIVATE KEY-----\n"
LAYOUTS = [
    ["exchange", "symbol", "date"],
    ["symbol", "exchange", "date", "hour"],
    ["exchange", "symbol", "year", "month", "day"],
]
#: Texts and lists, whose rules a program cannot guess from the type: several values of each, none the default.
VALUES: dict[str, list[Any]] = {
    "coinbase.symbols": [["ETH-USD"], ["SOL-USD", "BTC-USD"]],
    "coinbase.channels": [["trades"], ["frames", "l2"]],
    "coinbase.api_secret": [PEM.format(1), PEM.format(2)],
    "coinbase.ws_url": ["ws://127.0.0.1:8765", "wss://example.com/feed"],
    "ccxt.exchanges.{id}.channels": [{"watchTrades": ["BTC/USD"]}, {"watchTicker": ["A/B", "C/D:D"]}],
    "ccxt.exchanges.{id}.record": [["frames"], ["trades", "l2"]],
    "ccxt.exchanges.{id}.ws_url": ["ws://127.0.0.1:8765", "wss://example.com"],
    "ccxt.exchanges.{id}.rest_url": ["http://127.0.0.1:8765", "https://example.com/api"],
    "ccxt.exchanges.{id}.stall_timeouts": [{"orderbook": 30.0}, {"trades": None, "ticker": 60.0}],
    "ccxt.exchanges.{id}.options": [{"a": 1}, {"b": True}],
    "ingestion.partition_by": LAYOUTS,
    "etl.channels.orderbook.partition_cols": LAYOUTS,
    "etl.channels.trades.partition_cols": LAYOUTS,
    "etl.channels.ticker.partition_cols": LAYOUTS,
    "etl.channels.bars.partition_cols": LAYOUTS,
    "etl.watch.tables": [["orderbook"], ["ticker", "trades"]],
    "storage.sync.paths": [["raw/ready/coinbase"], ["processed", "imports"]],
    "etl.channels.bars.event_bars": [["tick-100"], ["volume-5", "dollar_run"]],
    "etl.channels.orderbook.processor_options.include": [["hhi_*"], ["grid_returns", "rv_60s"]],
    "etl.channels.orderbook.processor_options.exclude": [["vpin"], ["mlofi_*", "kyle"]],
    "etl.channels.orderbook.processor_options.microprice_calibration": [
        str(Path(__file__).with_name("microprice.json"))
    ],
    "etl.channels.orderbook.processor_options.normalise": [["mid_rank_100"], ["ofi_z_300s", "h*_ewz_hl60s"]],
    "etl.channels.orderbook.processor_options.tick_size": [0.01, 5.0],
    "etl.channels.orderbook.processor_options.kyle_lambda_window": [20, 600],
    "etl.channels.orderbook.processor_options.vpin_bucket_volume": ["auto", 2.5, 1e-6],
    "etl.channels.orderbook.processor_options.hawkes_mu": [[0.5, 0.25], [0.0, 2.0]],
    "etl.channels.orderbook.processor_options.hawkes_alpha": [[0.5, 0.25, 0.1, 0.4], [1.0, 0.0, 0.0, 1.0]],
    "etl.channels.orderbook.processor_options.hawkes_beta": [1.5, 20.0],
}
BY_NAME: dict[str, list[Any]] = {"endpoint_url": ["https://s3.example.com", "http://localhost:9000"]}
#: Valid settings that every rule about two keys is content with, whichever single key is changed.
BASE: dict[str, Any] = {
    "coinbase.symbols": ["BTC-USD"],
    "coinbase.api_key": "name",
    "coinbase.api_secret": PEM.format(0),
    "ccxt.exchanges.kraken.api_key": "name",
    "ccxt.exchanges.kraken.channels": {"watchOrderBook": ["X/Y"]},
}
for _store in ("ingestion_storage", "etl_storage_input", "etl_storage_output", "sync.source", "sync.destination"):
    BASE |= {f"storage.{_store}.s3.{name}": "set" for name in ("bucket", "access_key_id", "secret_access_key")}
    BASE |= {f"storage.{_store}.gcs.bucket": "set", f"storage.{_store}.azure.container": "set"}


def leaves() -> list[Key]:
    return [key for key in walk(DaedalusConfig) if key.is_leaf]


def name_of(key: Key) -> str:
    return ".".join(key.path)


def flag_of(key: Key) -> str:
    return name_of(key).replace("{id}", "kraken")


def other_value(key: Key) -> object:
    """Return a valid value that is neither the default nor that of `BASE`."""
    known = VALUES.get(name_of(key)) or BY_NAME.get(key.path[-1])
    if known:
        return known[0]
    default = key.field.get_default(call_default_factory=True)
    kind = alternatives(key.field.annotation)[0]
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if value != default)
    if kind is bool:
        return not default
    if kind in (int, float):
        return _other_number(kind, default, key.field)
    if kind in (str, SecretStr):
        return "other"
    if get_origin(kind) is list:
        return [*default, default[-1] + 1]
    raise AssertionError(f"{name_of(key)}: no other value is known; add one to VALUES")


def _other_number(kind: type, default: Any, field: FieldInfo) -> Any:
    low, high = bounds(field.metadata)
    if default is None:
        return kind(low)
    return default + 1 if default + 1 <= high else kind((low + default) / 2)


def bounds(metadata: list[Any]) -> tuple[Any, Any]:
    """Return the least and the largest value; every number has both, which is why this may raise."""
    low = next(v for item in metadata for name in ("ge", "gt") if (v := getattr(item, name, None)) is not None)
    high = next(v for item in metadata if (v := getattr(item, "le", None)) is not None)
    return low, high


def strategy(key: Key) -> st.SearchStrategy[Any]:
    """Return valid values of a key that is no secret."""
    known = VALUES.get(name_of(key)) or BY_NAME.get(key.path[-1])
    chosen = st.sampled_from(known) if known else _of_kind(key.field.annotation, key.field.metadata)
    return st.none() | chosen if key.is_optional else chosen


def _of_kind(kind: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    if get_origin(kind) is Annotated:
        kind, *inner = get_args(kind)
        own = [part for item in inner for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        metadata = [*metadata, *own]
    if len(members(kind)) > 1:
        return st.one_of([_of_kind(one, metadata) for one in members(kind) if one is not type(None)])
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is list:
        return st.lists(_of_kind(get_args(kind)[0], []), min_size=1, max_size=8, unique=True).map(sorted)
    if kind is bool:
        return st.booleans()
    if kind is str:
        return st.text("abcXYZ019_-: #'\"é", min_size=1, max_size=20).map(lambda text: f"d{text}e".replace(":", ";"))
    low, high = bounds(metadata)
    if kind is int:
        return st.integers(low, high)
    return st.floats(low, high, exclude_min=any(getattr(item, "gt", None) is not None for item in metadata))
