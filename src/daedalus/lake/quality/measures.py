"""What the rows of one hour of one stream show by themselves."""

from collections.abc import Sequence

import polars as pl

from daedalus.lake.quality.columns import STALE_NS
from daedalus.lake.quality.spans import Span, clipped, left_over

#: A price is an outlier if it lies further from the median of its neighbours than this share of it, and than this many
#: times as far as nine of ten prices of the hour: a market with a wide spread is none of outliers.
OUTLIER_SHARE, OUTLIER_TIMES = 0.01, 5.0
_NEIGHBOURS = 21
#: A quote that is older says nothing of a trade, ns.
_QUOTE_NS_MAX = 10 * 10**9

Values = dict[str, int | float | None]


def latency(rows: pl.DataFrame) -> Values:
    """Return percentiles of the time from the exchange's clock to ours; none where the exchange gives no time."""
    live = rows.filter(~pl.col("is_snapshot")) if "is_snapshot" in rows.columns else rows
    ms = ((live["t"] - live["ts"]) / 1e6).drop_nulls()
    names = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99, "clock_offset_ms": 0.01}
    return {name: ms.quantile(share, "linear") for name, share in names.items()}


def out_of_order(rows: pl.DataFrame, newest: int | None) -> tuple[int, int | None]:
    """Return how many rows carry an exchange time before an earlier row's, and the newest time so far, ns."""
    live = rows.filter(~pl.col("is_snapshot")) if "is_snapshot" in rows.columns else rows
    times = live["ts"].drop_nulls()
    if times.is_empty():
        return 0, newest
    if newest is not None:
        times = pl.concat([pl.Series([newest], dtype=pl.Int64), times], rechunk=True)
    peak = times.cum_max()
    last = peak[-1]
    return int((times < peak).sum()), int(last)


def repeated(rows: pl.DataFrame, known: pl.Series | None) -> tuple[int | None, pl.Series | None]:
    """Return how many trades or book frames came again, and what tells them apart, for the hour after.

    Trades are told apart by their id, book frames by number and time together, since a new connection may begin to
    count anew. What has neither cannot be told apart: None.
    """
    if "trade_id" in rows.columns:
        keys = rows["trade_id"].drop_nulls()
    elif "nonce" in rows.columns:
        numbered = rows.filter(pl.col("nonce").is_not_null())
        if "is_snapshot" in rows.columns:
            numbered = numbered.filter(~pl.col("is_snapshot")).unique(["t", "nonce"], maintain_order=True)
        keys = numbered.select(pl.struct("nonce", "ts").alias("key"))["key"]
    else:
        return None, None
    if keys.is_empty():
        return None, known
    again = keys.len() - keys.n_unique()
    if known is not None:
        again += int(keys.unique().is_in(known.implode()).sum())
    return again, keys


def quotes(rows: pl.DataFrame) -> Values:
    """Return crossed and locked books and percentiles of the spread, of rows with `bid` and `ask`."""
    both = rows.drop_nulls(["bid", "ask"])
    good = both.filter(pl.col("bid") < pl.col("ask"))
    bps = good.select(((pl.col("ask") - pl.col("bid")) / (pl.col("ask") + pl.col("bid")) * 2e4).alias("bps"))["bps"]
    return {
        "crossed": int((both["bid"] > both["ask"]).sum()),
        "locked": int((both["bid"] == both["ask"]).sum()),
        "spread_p50_bps": bps.quantile(0.5, "linear"),
        "spread_p95_bps": bps.quantile(0.95, "linear"),
    }


def stale(times: pl.Series, start: int, end: int, gaps: list[Span]) -> Values:
    """Return how often nothing came for longer than `STALE_NS`, and for how long in all, outside gaps.

    Parameters
    ----------
    times
        Receive clocks, ns: of the rows, and of their neighbours outside the hour.
    start, end
        Of the hour, as far as the stream was recorded. A period counts in the hour in which it begins.
    """
    waits = pl.DataFrame({"since": times[:-1], "until": times[1:]}) if times.len() > 1 else None
    periods, total = 0, 0
    for since, until in waits.filter(pl.col("until") - pl.col("since") > STALE_NS).rows() if waits is not None else ():
        if left_over(since, until, gaps) <= STALE_NS:
            continue
        periods += start <= since < end
        total += sum(left_over(*part, gaps) for part in clipped([(since, until)], start, end))
    return {"stale": periods, "stale_s": total / 1e9}


def outliers(rows: pl.DataFrame) -> int:
    """Return how many prices, or mids of quotes, are far from their neighbours, or are none."""
    if "price" in rows.columns:
        wrong = ~((pl.col("price") > 0) & (pl.col("amount") > 0)).fill_null(False)
        prices = pl.col("price")
    else:
        wrong = ((pl.col("bid") <= 0) | (pl.col("ask") <= 0)).fill_null(False)
        prices = (pl.col("bid") + pl.col("ask")) / 2
    known = rows.select(wrong.alias("wrong"), prices.alias("price"))
    good = known.filter(~pl.col("wrong"))["price"].drop_nulls()
    far = 0
    if good.len() >= 3:
        middle = good.rolling_median(_NEIGHBOURS, min_samples=3, center=True)
        share = (good / middle - 1).abs()
        typical = share.quantile(0.9, "linear")
        assert isinstance(typical, float)
        far = int(((share > OUTLIER_SHARE) & (share > OUTLIER_TIMES * typical)).sum())
    return int(known["wrong"].sum()) + far


def sides(trades: pl.DataFrame, quoted: Sequence[pl.DataFrame]) -> Values:
    """Return of how many trades the side can be checked against the quote just before, and of how many it agrees.

    A trade at the ask or above was a buy, at the bid or below a sell; in between, either is possible. What was before
    is told by the exchange's clock where it gives its time, since many send the book that a trade has changed before
    the trade; else by ours.

    Parameters
    ----------
    quoted
        Channels with quotes; of those with the exchange's time, else of all, the one with most rows is taken.
    """
    timed = [rows for rows in quoted if not rows["ts"].null_count()] if not trades["ts"].null_count() else []
    quotes = max(timed or quoted, key=len, default=None)
    if quotes is None or trades.is_empty():
        return {"sides_checked": 0, "sides_agree": 0}
    clock = "ts" if timed else "t"
    good = quotes.filter(pl.col("bid") < pl.col("ask")).select(clock, "bid", "ask").sort(clock, maintain_order=True)
    beside = (
        trades.select(clock, "side", "price")
        .sort(clock, maintain_order=True)
        .join_asof(good, on=clock, strategy="backward", tolerance=_QUOTE_NS_MAX, allow_exact_matches=False)
    )
    at_ask, at_bid = pl.col("price") >= pl.col("ask"), pl.col("price") <= pl.col("bid")
    checked = beside.filter(pl.col("side").is_not_null() & (at_ask | at_bid))
    agree = checked.select(((pl.col("side") == "buy") == at_ask).sum()).item()
    return {"sides_checked": checked.height, "sides_agree": int(agree)}


def unnumbered(hour_rows: pl.DataFrame) -> list[Span]:
    """Return the times between rows over which the exchange's numbering does not show that nothing is missing, ns.

    Trades: between ids that are not consecutive, whatever their order. Books: between frames of which one has no
    number; where numbers are, the collector checks them and enters what is missing in the ledger.
    """
    if hour_rows.height < 2:
        return []
    if "trade_id" in hour_rows.columns:
        return _between_ids(hour_rows)
    if "nonce" not in hour_rows.columns:
        return [(int(hour_rows["t"][0]), int(hour_rows["t"][-1]))]
    ends = hour_rows.select(pl.col("t").alias("since"), pl.col("t").shift(-1).alias("until"), _numbered())
    return [(since, until) for since, until, is_numbered in ends.drop_nulls().rows() if not is_numbered]


def _numbered() -> pl.Expr:
    known = pl.col("nonce").is_not_null()
    return (known & known.shift(-1)).alias("is_numbered")


def _between_ids(rows: pl.DataFrame) -> list[Span]:
    whole = (int(rows["t"][0]), int(rows["t"][-1]))
    ids = rows.select("t", id=pl.col("trade_id").cast(pl.Int64, strict=False))
    if ids["id"].null_count():
        return [whole]
    ordered = ids.sort("id", maintain_order=True)
    holes = ordered.select(
        pl.min_horizontal("t", pl.col("t").shift(-1)).alias("since"),
        pl.max_horizontal("t", pl.col("t").shift(-1)).alias("until"),
        (pl.col("id").shift(-1) - pl.col("id")).alias("step"),
    ).filter(pl.col("step") > 1)
    return [(since, until) for since, until, _ in holes.rows()]
