"""What the tables of silver share: columns that place a row, and the record batch around the features of the engine."""

from collections.abc import Mapping

import pyarrow as pa

from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.transforms.base import Market, Output, constant
from daedalus.shared.schemas import CHANNELS, Column, arrow_schema

EXCHANGE = Column("exchange", "string", "", "exchange, as in the path")
SYMBOL = Column("symbol", "string", "", "symbol, as in the path")
RECEIVED = Column("collected_at", "int64", "ns", "receive clock of the row; its hour is the partition")


def bronze_schema(channel: str, *columns: str) -> pa.Schema:
    """Return the Arrow schema of some columns of a bronze channel."""
    return pa.schema([arrow_schema(channel).field(name) for name in columns])


def bronze_columns(channel: str, *names: str) -> tuple[Column, ...]:
    """Return the declarations of some columns of a bronze channel, which silver carries on."""
    declared = {column.name: column for column in CHANNELS[channel].columns}
    return tuple(declared[name] for name in names)


def silver_output(features: FeatureSet, transform: str, version: int, *carried: Column) -> Output:
    """Return the declaration of a table: time and market, what is carried on from bronze, then the features.

    Parameters
    ----------
    features
        The features of the table.
    transform, version
        For the footer; the version is of the schema beyond the features, which have their own fingerprint.
    carried
        Columns between the market and the receive clock.
    """
    own = {column.name: column for column in features.columns}
    first = (own.pop("ts"), EXCHANGE, SYMBOL, *carried, *([own.pop("seq")] if "seq" in own else []), RECEIVED)
    metadata = (("transform", transform), ("schema_version", str(version)), ("feature_set", features.fingerprint))
    return Output("", "features.parquet", (*first, *own.values()), "collected_at", metadata)


def silver_rows(
    output: Output, market: Market, features: pa.RecordBatch, carried: Mapping[str, pa.Array]
) -> pa.RecordBatch:
    """Return features with the market and the carried columns, in the order of the declaration."""
    rows = features.num_rows
    given = {
        "exchange": constant(market.exchange, pa.string(), rows),
        "symbol": constant(market.symbol, pa.string(), rows),
        **carried,
    }
    columns = [given[name] if name in given else features.column(name) for name in output.schema.names]
    return pa.record_batch(columns, schema=output.schema)
