# %% [markdown]
# # A first look at a lake
#
# Run it as it is, `python docs/tour.py data tour.png`, or cell by cell in an editor that knows `# %%`. It needs a lake
# with features: `daedalus features orderbook --base-dir data`.

# %%
import sys

import matplotlib as mpl
import polars as pl

import daedalus

mpl.use("Agg")
import matplotlib.pyplot as plt

BASE = sys.argv[1] if len(sys.argv) > 1 else "data"
PICTURE = sys.argv[2] if len(sys.argv) > 2 else "tour.png"
DAY_NS = 86_400 * 10**9

# %% [markdown]
# ## What is there
#
# A lake shows its tables; its catalogue is a frame like any other.

# %%
lake = daedalus.open_lake(BASE)
print(lake)
market = lake.catalog("orderbook_features").sort("rows", descending=True).row(0, named=True)
where = {"exchange": market["exchange"], "symbol": market["symbol"]}
print(f"\nthe market with most books: {market['exchange']} {market['symbol']}, {market['rows']:,} rows")

# %% [markdown]
# ## Can it be trusted?
#
# Hours of the same market: how much of them was connected, and what went wrong.

# %%
quality = lake.quality(**where)
print(quality.summary().select("channel", "rows", "connected_s", "verified_s", "gaps", "latency_p50_ms"))

# %% [markdown]
# ## The last day, minute by minute
#
# Order-flow imbalance adds up over a minute; mid and spread are those at its end. A row is known when it was received,
# so minutes are those of our clock.

# %%
end = lake.scan("orderbook_features", **where, columns=["collected_at"]).max().collect().item() + 1
rows = lake.scan(
    "orderbook_features",
    **where,
    start=end - DAY_NS,
    end=end,
    columns=["collected_at", "mid", "spread_bps", "ofi"],
)
minutes = (
    rows.with_columns(minute=pl.from_epoch("collected_at", time_unit="ns").dt.truncate("1m"))
    .group_by("minute")
    .agg(pl.col("ofi").sum(), pl.col("mid", "spread_bps").drop_nulls().last())
    .sort("minute")
    .collect()
    .upsample("minute", every="1m")
)

# %% [markdown]
# ## Does order flow say anything of the next minute?
#
# The information coefficient is the rank correlation of what is known at the end of a minute with the return of the
# next one. A minute without books has neither.

# %%
signal = minutes.with_columns(
    now=pl.col("mid").log().diff() * 1e4,
    ahead=(pl.col("mid").shift(-1).log() - pl.col("mid").log()) * 1e4,
)
pairs = signal.drop_nulls(["ofi", "ahead"])
ic = pairs.select(pl.corr("ofi", "ahead", method="spearman")).item()
same = signal.drop_nulls(["ofi", "now"]).select(pl.corr("ofi", "now", method="spearman")).item()
print(f"\n{pairs.height:,} minutes: OFI with the return of its own minute {same:+.3f}, of the next one {ic:+.3f}")
print(f"chance alone gives about +-{2 / max(pairs.height, 1) ** 0.5:.3f}")

# %%
figure, (price, spread, flow) = plt.subplots(
    3, 1, figsize=(11, 8), sharex=True, height_ratios=[3, 1, 1.5], layout="constrained"
)
price.plot(minutes["minute"], minutes["mid"], color="#30507a", linewidth=1)
price.set_ylabel("mid")
price.set_title(f"{market['exchange']} {market['symbol']}: IC of OFI with the next minute {ic:+.3f}", loc="left")
spread.plot(minutes["minute"], minutes["spread_bps"], color="#2a7fba", linewidth=0.8)
spread.set_ylabel("spread, bps")
flow.bar(
    minutes["minute"],
    minutes["ofi"],
    width=1 / 1440,
    color=["#1a9850" if (x or 0) > 0 else "#d73027" for x in minutes["ofi"]],
)
flow.set_ylabel("OFI a minute")
for axes in (price, spread, flow):
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig(PICTURE, dpi=110)
print(f"picture: {PICTURE}")
