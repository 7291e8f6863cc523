"""A catalog of nautilus_trader: order book deltas, trade ticks and the instrument, in its Parquet layout.

Numbers are fixed-point: 16 bytes, little-endian, in units of 1e-16, as in its builds of high precision (Linux, macOS).
Layout: https://nautilustrader.io/docs/latest/concepts/data. Memory: one piece of rows.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.lake.export.market import Market, Piece, exchange_ns
from daedalus.shared.clock import utc
from daedalus.shared.errors import ConfigError
from daedalus.shared.partitioning import sanitize_partition_value
from daedalus.storage.local import TEMP_SUFFIX, make_dirs, publish

DECIMALS_MAX = 16
_UPDATE, _ADD, _DELETE, _CLEAR = 2, 1, 3, 4
_SNAPSHOT, _LAST = 32, 128
_ROW_GROUP = 32_768
_FIXED = pa.binary(16)
_DELTA = pa.schema(
    [
        pa.field("action", pa.uint8(), False),
        pa.field("side", pa.uint8(), False),
        pa.field("price", _FIXED, False),
        pa.field("size", _FIXED, False),
        pa.field("order_id", pa.uint64(), False),
        pa.field("flags", pa.uint8(), False),
        pa.field("sequence", pa.uint64(), False),
        pa.field("ts_event", pa.uint64(), False),
        pa.field("ts_init", pa.uint64(), False),
    ]
)
_TRADE = pa.schema(
    [
        pa.field("price", _FIXED, False),
        pa.field("size", _FIXED, False),
        pa.field("aggressor_side", pa.uint8(), False),
        pa.field("trade_id", pa.string(), False),
        pa.field("ts_event", pa.uint64(), False),
        pa.field("ts_init", pa.uint64(), False),
    ]
)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[Any]


@dataclass(frozen=True)
class Precision:
    """Digits after the point that the market's prices and sizes need."""

    price: int
    size: int


def write(market: Market, catalog: Path) -> int:
    """Write a market into a catalog and return how many rows; files of the same range are replaced.

    Raises
    ------
    ConfigError
        If the pair is not known, nothing lies in the range, or files are there that overlap with it.
    """
    if market.pair is None:
        raise ConfigError(f"{market.symbol} does not tell base from quote: give them, --pair BTC/USDT")
    precision = _precision(market)
    name = f"{sanitize_partition_value(market.symbol)}.{market.exchange.upper()}"
    head = {"instrument_id": name, "price_precision": str(precision.price), "size_precision": str(precision.size)}
    deltas = (_of_book(piece, precision) for piece in market.book_pieces())
    trades = (_trades(table, precision) for table in market.trade_tables())
    folder = catalog / "data"
    rows = _stream(folder / "order_book_delta" / name, _DELTA.with_metadata(head), deltas)
    rows += _stream(folder / "trade_tick" / name, _TRADE.with_metadata(head), trades)
    _instrument(folder / "currency_pair" / name, name, market, market.pair, precision)
    return rows


def _stream(folder: Path, schema: pa.Schema, pieces: Iterator[pa.Table]) -> int:
    """Write the pieces as one file, which has its name when it is whole."""
    make_dirs(folder)
    temp = folder / f"export{TEMP_SUFFIX}"
    first = last = None
    rows = 0
    try:
        with pq.ParquetWriter(temp, schema, compression="zstd") as writer:
            for piece in pieces:
                clock = piece["ts_init"]
                first, last, rows = first or clock[0].as_py(), clock[-1].as_py(), rows + piece.num_rows
                writer.write_table(piece.cast(schema), row_group_size=_ROW_GROUP)
        if first is not None and last is not None:
            final = folder / _file_name(first, last)
            _refuse_overlaps(folder, final, first, last)
            publish(temp, final, overwrite=True)
    finally:
        temp.unlink(missing_ok=True)
    if not rows:
        with contextlib.suppress(OSError):
            folder.rmdir()
    return rows


def _file_name(first: int, last: int) -> str:
    """Return the name that tells a file's range.

    Examples
    --------
    >>> _file_name(6, 1_750_341_600_000_000_001)
    '1970-01-01T00-00-00-000000006Z_2025-06-19T14-00-00-000000001Z.parquet'
    """
    start, end = (f"{utc(ns):%Y-%m-%dT%H-%M-%S}-{ns % 10**9:09d}Z" for ns in (first, last))
    return f"{start}_{end}.parquet"


def _refuse_overlaps(folder: Path, final: Path, first: int, last: int) -> None:
    """Raise `ConfigError` if a file of another range overlaps: rows would be there twice. Names sort by time."""
    start, end = _file_name(first, last).removesuffix(".parquet").split("_")
    for path in sorted(folder.glob("*_*.parquet")):
        since, until = path.stem.split("_")
        if path != final and since <= end and start <= until:
            raise ConfigError(f"{path} overlaps with what is exported: remove it, or choose a range beside it")


def _of_book(piece: Piece, precision: Precision) -> pa.Table:
    return _cleared(piece) if isinstance(piece, int) else _deltas(piece, precision)


def _deltas(table: pa.Table, precision: Precision) -> pa.Table:
    """Return the rows of `l2`; each snapshot stands after a row that clears the book."""
    ours, whole = table["collected_at"].to_numpy(), table["is_snapshot"].to_numpy()
    number = table["nonce"].fill_null(0).to_numpy()
    size = table["size"].to_numpy()
    ends = np.append((ours[1:] != ours[:-1]) | (number[1:] != number[:-1]) | (whole[1:] != whole[:-1]), True)
    heads = np.append(True, ends[:-1]) & whole
    action = np.where(whole, _ADD, np.where(size > 0, _UPDATE, _DELETE))
    columns = {
        "action": action,
        "side": np.where(table["side"].to_numpy(zero_copy_only=False) == "bid", 1, 2),
        "price": table["price"].to_numpy(),
        "size": size,
        "order_id": np.zeros(len(ours), np.int64),
        "flags": np.where(whole, _SNAPSHOT, 0) | np.where(ends, _LAST, 0),
        "sequence": np.maximum(number, 0),
        "ts_event": exchange_ns(table),
        "ts_init": ours,
    }
    clear = {"action": _CLEAR, "side": 0, "price": 0.0, "size": 0.0, "flags": _SNAPSHOT}
    places = np.flatnonzero(heads)
    made = {name: np.insert(values, places, clear.get(name, values[places])) for name, values in columns.items()}
    return _delta_table(made, precision)


def _cleared(at: int) -> pa.Table:
    """Return the row that says that the book is unknown."""
    values = {"action": _CLEAR, "side": 0, "price": 0.0, "size": 0.0, "order_id": 0, "flags": _LAST, "sequence": 0}
    return _delta_table(
        {k: np.array([v]) for k, v in {**values, "ts_event": at, "ts_init": at}.items()}, Precision(0, 0)
    )


def _delta_table(columns: dict[str, Ints], precision: Precision) -> pa.Table:
    fixed = {"price": _fixed(columns["price"], precision.price), "size": _fixed(columns["size"], precision.size)}
    arrays = [fixed[f.name] if f.name in fixed else pa.array(columns[f.name]).cast(f.type) for f in _DELTA]
    return pa.table(arrays, schema=_DELTA)


def _trades(table: pa.Table, precision: Precision) -> pa.Table:
    ours, side = table["collected_at"].to_numpy(), table["side"].to_numpy(zero_copy_only=False)
    unnamed = [f"{at}-{n}" for n, at in enumerate(ours)] if table["trade_id"].null_count else None
    ids = table["trade_id"].to_pylist()
    columns = {
        "price": _fixed(table["price"].to_numpy(), precision.price),
        "size": _fixed(table["amount"].to_numpy(), precision.size),
        "aggressor_side": pa.array(np.where(side == "buy", 1, np.where(side == "sell", 2, 0))).cast(pa.uint8()),
        "trade_id": pa.array([i or u for i, u in zip(ids, unnamed, strict=True)] if unnamed else ids, pa.string()),
        "ts_event": pa.array(exchange_ns(table)).cast(pa.uint64()),
        "ts_init": pa.array(ours).cast(pa.uint64()),
    }
    return pa.table([columns[field.name] for field in _TRADE], schema=_TRADE)


def _instrument(folder: Path, name: str, market: Market, pair: tuple[str, str], precision: Precision) -> None:
    steps = [f"{10.0**-places:.{places}f}" for places in (precision.price, precision.size)]
    values: dict[str, tuple[object, pa.DataType]] = {
        "id": (name, pa.string()),
        "raw_symbol": (market.symbol, pa.string()),
        "base_currency": (pair[0], pa.string()),
        "quote_currency": (pair[1], pa.string()),
        "price_precision": (precision.price, pa.uint8()),
        "size_precision": (precision.size, pa.uint8()),
        "price_increment": (steps[0], pa.string()),
        "size_increment": (steps[1], pa.string()),
        "multiplier": ("1", pa.string()),
        **dict.fromkeys(("lot_size", "max_quantity", "min_quantity", "max_notional"), (None, pa.string())),
        **dict.fromkeys(("min_notional", "max_price", "min_price"), (None, pa.string())),
        **dict.fromkeys(("margin_init", "margin_maint", "maker_fee", "taker_fee"), ("0", pa.string())),
        "info": (b"null", pa.binary()),
        "ts_event": (0, pa.uint64()),
        "ts_init": (0, pa.uint64()),
    }
    schema = pa.schema([(key, kind) for key, (_, kind) in values.items()], metadata={"class": "CurrencyPair"})
    table = pa.table([pa.array([value], kind) for value, kind in values.values()], schema=schema)
    make_dirs(folder)
    temp = folder / f"export{TEMP_SUFFIX}"
    try:
        pq.write_table(table, temp)
        publish(temp, folder / _file_name(0, 0), overwrite=True)
    finally:
        temp.unlink(missing_ok=True)


def _precision(market: Market) -> Precision:
    """Return the fewest digits in which all prices and sizes stand exactly."""
    price = size = 0
    rows = 0
    for piece in market.book_pieces():
        if not isinstance(piece, int):
            price, size = _digits(piece["price"].to_numpy(), price), _digits(piece["size"].to_numpy(), size)
            rows += piece.num_rows
    for table in market.trade_tables():
        price, size = _digits(table["price"].to_numpy(), price), _digits(table["amount"].to_numpy(), size)
        rows += table.num_rows
    if not rows:
        raise ConfigError(f"of {market.exchange} {market.symbol} no book and no trade lies in the range")
    return Precision(price, size)


def _digits(values: Floats, least: int) -> int:
    """Return how many digits after the point the values need, at least so many.

    Examples
    --------
    >>> _digits(np.array([1.25, 100.0]), 0)
    2
    """
    for places in range(least, DECIMALS_MAX + 1):
        scaled = values * 10.0**places
        if np.all(np.rint(scaled) / 10.0**places == values) and np.all(scaled < 2**53):
            return places
    longest = max(values.tolist(), key=lambda value: len(repr(value)))
    raise ConfigError(f"{longest} has more digits than a catalog holds, {DECIMALS_MAX} after the point and 15 in all")


def _fixed(values: Floats, places: int) -> pa.Array:
    """Return numbers in units of 1e-16, 128 bits wide, by multiplication in halves of 32 bits."""
    whole = np.rint(values * 10.0**places).astype(np.uint64)
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    factor = 10 ** (DECIMALS_MAX - places)
    low, high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    right, left = whole & mask, whole >> half
    parts = right * low, right * high, left * low, left * high
    middle = (parts[0] >> half) + (parts[1] & mask) + (parts[2] & mask)
    words = np.empty((len(values), 2), "<u8")
    words[:, 0] = (parts[0] & mask) | (middle << half)
    words[:, 1] = parts[3] + (parts[1] >> half) + (parts[2] >> half) + (middle >> half)
    return pa.Array.from_buffers(_FIXED, len(values), [None, pa.py_buffer(words.tobytes())])
