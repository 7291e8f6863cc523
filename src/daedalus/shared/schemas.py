"""The columns of every bronze channel, declared once. Arrow schemas and the documentation follow from here."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

DType = Literal["int8", "int32", "int64", "float64", "string", "bool", "date", "timestamp", "levels"]


@dataclass(frozen=True)
class Column:
    """One column. `timestamp` is timestamp[us, UTC], `levels` list<struct<price, size>>; unit "" if it has none."""

    name: str
    dtype: DType
    unit: str
    doc: str


@dataclass(frozen=True)
class ChannelSchema:
    """The columns of a channel, in file order, without the partition columns. `version` grows when they change."""

    channel: str
    version: int
    doc: str
    columns: tuple[Column, ...]


_RECEIVED = (
    Column("collected_at", "int64", "ns", "receive clock, since the epoch"),
    Column("capture_ts", "timestamp", "us", "the same instant, for readers"),
    Column("exchange", "string", "", "exchange, as in the path"),
    Column("symbol", "string", "", "symbol, as in the path"),
)
_TIMESTAMP = Column("timestamp", "timestamp", "us", "the exchange's event time; null if it gives none")
_NONCE = Column("nonce", "int64", "", "the exchange's sequence number of the update; null if it gives none")
_INFO = Column("info_json", "string", "", "the exchange's own fields that no column carries, as JSON")

#: Columns of a row's partition, appended to every channel; equal to the values in the path.
PARTITION_DTYPES: dict[str, DType] = {
    "exchange": "string",
    "symbol": "string",
    "year": "int32",
    "month": "int32",
    "day": "int32",
    "hour": "int32",
    "date": "date",
}


def _price(name: str, doc: str) -> Column:
    return Column(name, "float64", "quote", doc)


def _size(name: str, doc: str) -> Column:
    return Column(name, "float64", "base", doc)


CHANNELS: dict[str, ChannelSchema] = {
    schema.channel: schema
    for schema in (
        ChannelSchema(
            "ticker",
            1,
            "best quotes and 24 h statistics as published",
            (
                *_RECEIVED,
                _price("bid", "best bid"),
                _price("ask", "best ask"),
                _size("bid_volume", "size at the best bid"),
                _size("ask_volume", "size at the best ask"),
                _price("last", "price of the last trade"),
                _price("open", "price 24 h ago"),
                _price("high", "24 h high"),
                _price("low", "24 h low"),
                _price("close", "closing price, where it differs from last"),
                _price("vwap", "24 h volume-weighted price"),
                _size("base_volume", "24 h volume"),
                Column("quote_volume", "float64", "quote", "24 h turnover"),
                _price("change", "last - open"),
                Column("percentage", "float64", "%", "change over 24 h"),
                _TIMESTAMP,
                _INFO,
            ),
        ),
        ChannelSchema(
            "trades",
            1,
            "one row per execution",
            (
                *_RECEIVED,
                Column("trade_id", "string", "", "the exchange's id"),
                _TIMESTAMP,
                Column("side", "string", "", "buy or sell: the aggressor's; null if not told"),
                _price("price", "execution price"),
                _size("amount", "executed size"),
                Column("cost", "float64", "quote", "turnover, only where the exchange sends it"),
                _INFO,
            ),
        ),
        ChannelSchema(
            "orderbook",
            1,
            "snapshots of the top levels",
            (
                *_RECEIVED,
                _TIMESTAMP,
                _NONCE,
                Column("bids", "levels", "quote, base", "best first"),
                Column("asks", "levels", "quote, base", "best first"),
            ),
        ),
        ChannelSchema(
            "l2",
            1,
            "every change of a price level; after a gap valid again from the next snapshot",
            (
                *_RECEIVED,
                _TIMESTAMP,
                _NONCE,
                Column("is_snapshot", "bool", "", "the row belongs to a full book that replaces all before it"),
                Column("side", "string", "", "bid or ask"),
                _price("price", "price of the level"),
                _size("size", "absolute size; 0 removes the level"),
            ),
        ),
        ChannelSchema(
            "gaps",
            1,
            "the ledger: intervals in which something may be missing",
            (
                *_RECEIVED,
                Column("channel", "string", "", "the channel concerned"),
                Column("started_at", "int64", "ns", "receive clock of the last row known to be whole"),
                Column("ended_at", "int64", "ns", "receive clock of the end; null: ends with the next row"),
                Column("reason", "string", "", "the cause"),
                Column("missed", "int64", "messages", "lost by the exchange's numbering; null if it does not number"),
                Column("detail", "string", "", "what happened, in words"),
            ),
        ),
        ChannelSchema(
            "frames",
            1,
            "websocket text exactly as it came or was sent",
            (
                *_RECEIVED,
                Column(
                    "connection_id", "string", "", "one connection; of CCXT SESSION:0, :1..., :rest:, :again:, :open"
                ),
                Column("direction", "string", "", "in or out"),
                Column("frame", "string", "", "the text, verbatim"),
            ),
        ),
    )
}


def arrow_type(dtype: DType) -> "pa.DataType":
    """Return the Arrow type of a declared dtype."""
    import pyarrow as pa

    if dtype == "timestamp":
        return pa.timestamp("us", tz="UTC")
    if dtype == "date":
        return pa.date32()
    if dtype == "levels":
        return pa.list_(pa.struct([("price", pa.float64()), ("size", pa.float64())]))
    return pa.type_for_alias(dtype)


@lru_cache
def arrow_schema(channel: str, partition_columns: tuple[str, ...] = ()) -> "pa.Schema":
    """Return the Arrow schema of a channel's rows.

    Parameters
    ----------
    channel
        A key of `CHANNELS`.
    partition_columns
        The layout's columns (`partitioning`); those that the channel does not already hold come last.
    """
    import pyarrow as pa

    columns = CHANNELS[channel].columns
    fields = [pa.field(c.name, arrow_type(c.dtype)) for c in columns]
    known = {c.name for c in columns}
    fields += [pa.field(name, arrow_type(PARTITION_DTYPES[name])) for name in partition_columns if name not in known]
    return pa.schema(fields)
