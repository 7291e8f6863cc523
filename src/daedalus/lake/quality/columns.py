"""The columns of table `quality`, declared once: a row for each exchange, symbol, channel and hour."""

import polars as pl
import pyarrow as pa

from daedalus.shared.events import GAP_REASONS
from daedalus.shared.schemas import Column, arrow_type

#: No row of quotes for so long, ns, and the quotes count as stale.
STALE_NS = 60 * 10**9

_COUNTS = (
    Column("gaps", "int64", "count", "gaps that begin in the hour, of all causes"),
    *(Column(f"gaps_{reason}", "int64", "count", f"gaps whose cause is {reason}") for reason in GAP_REASONS),
    Column("gap_s", "float64", "s", "time inside gaps; overlapping ones count once"),
    Column("missed", "int64", "messages", "lost by the exchange's numbering, as far as it numbers"),
)
_QUOTES = (
    Column("crossed", "int64", "rows", "best bid above best ask; null for trades, and l2 beside orderbook"),
    Column("locked", "int64", "rows", "best bid equal to best ask; null as above"),
    Column("stale", "int64", "periods", "longer than 60 s without a row, outside gaps; null for trades"),
    Column("stale_s", "float64", "s", "time of those periods; null for trades"),
    Column("spread_p50_bps", "float64", "bps", "median spread over the mid, of books that are not crossed"),
    Column("spread_p95_bps", "float64", "bps", "its 95th percentile"),
)
_LATENCY = (
    Column("latency_p50_ms", "float64", "ms", "receive clock less the exchange's time, median; null without that time"),
    Column("latency_p95_ms", "float64", "ms", "95th percentile"),
    Column("latency_p99_ms", "float64", "ms", "99th percentile"),
    Column(
        "clock_offset_ms", "float64", "ms", "1st percentile of latency: below 0, our clock is behind by at least that"
    ),
)
_TRADES = (
    Column("sides_checked", "int64", "trades", "with a side, at or through the quote just before; null but for trades"),
    Column("sides_agree", "int64", "trades", "of those: buys at the ask, sells at the bid"),
)
COLUMNS = (
    Column("hour_start", "int64", "ns", "start of the hour, UTC"),
    Column("exchange", "string", "", "exchange, as in the path"),
    Column("symbol", "string", "", "symbol, as in the path; ALL is a whole connection"),
    Column("channel", "string", "", "channel of bronze; ALL holds the gaps of a connection"),
    Column("hour", "int32", "", "hour of the day, UTC"),
    Column("rows", "int64", "rows", "rows received"),
    Column("connected_s", "float64", "s", "time between the stream's first row and the recording's end, less gaps"),
    Column("verified_s", "float64", "s", "of that, time over which the exchange's numbering shows nothing missing"),
    *_COUNTS,
    Column("duplicates", "int64", "rows", "trades whose id, book frames whose number and time were there before"),
    Column("out_of_order", "int64", "rows", "rows whose exchange time is before that of an earlier row"),
    *_QUOTES,
    *_LATENCY,
    *_TRADES,
    Column("outliers", "int64", "rows", "prices that are far from their neighbours, or no price at all"),
)
#: Columns of the partition, which the path names as well.
PARTITION = ("exchange", "symbol", "year", "month", "day")
_PLACED = (Column("year", "int32", "", "partition"), Column("month", "int32", "", "partition"))
_DAY = Column("day", "int32", "", "partition")

ARROW = pa.schema(
    [pa.field(c.name, arrow_type(c.dtype), metadata={"unit": c.unit, "doc": c.doc}) for c in (*COLUMNS, *_PLACED, _DAY)]
)
_POLARS = {"int64": pl.Int64(), "int32": pl.Int32(), "float64": pl.Float64(), "string": pl.String()}
SCHEMA = pl.Schema({c.name: _POLARS[c.dtype] for c in COLUMNS})
