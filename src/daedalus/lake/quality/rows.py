"""`quality_ok`: whether a row of features can be trusted, told when it is read, since a gap may be entered later."""

import polars as pl

from daedalus.lake.quality.columns import STALE_NS
from daedalus.lake.quality.spans import merged
from daedalus.lake.quality.table import recordings
from daedalus.lake.tables import Layout, Table
from daedalus.shared.errors import ConfigError

_FLAGS = ("is_crossed", "is_locked", "is_one_sided", "is_empty", "is_late")
_MARKET = ("exchange", "symbol")
_SUFFIX = "_features"


def with_quality_ok(layout: Layout, table: Table, exchange: str | None, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows of features with `quality_ok`, bool.

    It is false inside a gap of the stream that the row was made from, on books that are crossed, locked, one-sided or
    empty, on rows whose exchange time steps back, and where the touch has not moved for longer than 60 s.

    Raises
    ------
    ConfigError
        If the table is none of features.
    """
    if table.layer != "silver":
        raise ConfigError(f"quality_ok is told of features, such as orderbook_features, and {table.name} are none")
    channel = table.name.removesuffix(_SUFFIX)
    lines = [
        (recording.exchange, symbol, *span)
        for recording in recordings(layout, exchange)
        for symbol, name in recording.streams
        if name == channel
        for span in merged(recording.ledger.spans(symbol, channel))
    ]
    names = [*_MARKET, "_gap_start", "_gap_end"]
    schema = dict(zip(names, (pl.String(), pl.String(), pl.Int64(), pl.Int64()), strict=True))
    gaps = pl.LazyFrame(lines, schema, orient="row").sort("_gap_start")
    beside = rows.join_asof(
        gaps,
        left_on="collected_at",
        right_on="_gap_start",
        by=list(_MARKET),
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    known = rows.collect_schema().names()
    wrong = [(pl.col("collected_at") < pl.col("_gap_end")).fill_null(False)]
    wrong += [pl.col(name).fill_null(0) > 0 for name in _FLAGS if name in known]
    if "book_age_s" in known:
        wrong.append((pl.col("book_age_s") > STALE_NS / 1e9).fill_null(False))
    return beside.with_columns(quality_ok=~pl.any_horizontal(wrong)).drop("_gap_start", "_gap_end", strict=False)
