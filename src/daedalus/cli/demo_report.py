"""What the demo shows at its end: a summary, and pictures that a trader would look at."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE = "coinbase"
_UP, _DOWN, _LINE, _BID, _ASK = "#1a9850", "#d73027", "#30507a", "#2a7fba", "#d9822b"


def summary(base: Path, sent: dict[str, Any]) -> str:
    """Return rows and bytes per channel, gaps, latency, what was sent against what was recorded, and where it is."""
    lines = ["", f"{'channel':<12}{'rows':>10}{'bytes':>12}{'bytes/row':>11}{'segments':>10}"]
    ready = base / "raw" / "ready" / SOURCE
    for folder in sorted(path for path in ready.iterdir() if path.is_dir()):
        files = sorted(folder.glob("**/*.parquet"))
        rows, size = _scan(files).height, sum(path.stat().st_size for path in files)
        lines.append(f"{folder.name:<12}{rows:>10,}{size:>12,}{size / max(rows, 1):>11.1f}{len(files):>10}")
    lines += ["", *_sent_against_recorded(ready, sent), _gaps(ready), _latency(ready), "", *_where(base)]
    return "\n".join(lines)


def _scan(files: "list[Path]") -> "pl.DataFrame":
    import polars as pl

    return pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in files])


def _read(folder: Path) -> "pl.DataFrame":
    return _scan(sorted(folder.glob("**/*.parquet")))


def _sent_against_recorded(ready: Path, sent: dict[str, Any]) -> list[str]:
    import polars as pl

    l2 = _read(ready / "l2").filter(~pl.col("is_snapshot")).height
    trades = _read(ready / "trades").height
    changes = sum(connection["sent"]["changes"] for connection in sent["connections"])
    executed = sum(connection["sent"]["trades"] for connection in sent["connections"])
    late = ""
    if (changes, executed) != (l2, trades):
        late = " (the rest was on its way when the recorder closed the connection)"
    return [
        f"the exchange sent {changes:,} book changes and {executed:,} trades;",
        f"recorded are {l2:,} and {trades:,}{late}.",
    ]


def _gaps(ready: Path) -> str:
    reasons = _read(ready / "gaps")["reason"].value_counts(sort=True).rows() if (ready / "gaps").exists() else []
    text = ", ".join(f"{reason} {count}" for reason, count in reasons) or "none"
    return f"gap ledger: {text} (shutdown: the end of the recording, one row a stream)"


def _latency(ready: Path) -> str:
    import polars as pl

    rows = _read(ready / "l2").filter(~pl.col("is_snapshot"))
    latency = (pl.col("collected_at") // 1000 - pl.col("timestamp").dt.epoch("us")) / 1000
    values = rows.select(latency.alias("ms"))["ms"]
    quantiles = [values.quantile(q, "linear") or 0.0 for q in (0.5, 0.99)]
    return f"latency from the exchange's clock to ours: median {quantiles[0]:.2f} ms, p99 {quantiles[1]:.2f} ms"


def _where(base: Path) -> list[str]:
    bars = base / "processed" / SOURCE / "bars" / "gold" / "duration=5"
    return [
        f"bronze  {base / 'raw' / 'ready' / SOURCE}",
        f"silver  {base / 'processed' / SOURCE / 'orderbook' / 'silver'}",
        f"gold    {base / 'processed' / SOURCE / 'bars' / 'gold'}",
        "",
        "open them in Polars:",
        "  import polars as pl",
        f'  bars = pl.scan_parquet("{bars}/**/*.parquet", hive_partitioning=True)',
        '  bars.filter(pl.col("symbol") == "BTC-USD").collect()',
    ]


def pictures(base: Path, products: list[str]) -> list[Path]:
    """Draw price with bars, spread and depth, and OFI against mid change; return the files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    report = base / "report"
    report.mkdir(exist_ok=True)
    processed = base / "processed" / SOURCE
    silver = {p: _market(processed / "orderbook" / "silver", p).sort("collected_at") for p in products}
    bars = {
        (p, d): _market(processed / "bars" / "gold" / f"duration={d}", p).sort("bar_start")
        for p in products
        for d in (1, 5)
    }
    drawn = []
    for name, draw in (("price", _price), ("spread_depth", _spread_depth), ("ofi", _ofi)):
        rows = 2 if draw is _spread_depth else 1
        figure, axes = plt.subplots(rows, len(products), figsize=(6 * len(products), 4.2 * rows), squeeze=False)
        for column, product in enumerate(products):
            draw(axes[:, column], product, silver[product], bars)
        drawn.append(_save(figure, report / f"{name}.png"))
    return drawn


def _market(folder: Path, product: str) -> "pl.DataFrame":
    return _read(folder / "exchange=coinbase" / f"symbol={product}")


def _save(figure: "Figure", path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _style(axis: "Axes", title: str, y: str, x: str = "seconds since the start") -> None:
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.ticklabel_format(axis="y", useOffset=False)


def _price(axes: "Any", product: str, silver: "pl.DataFrame", bars: "dict[tuple[str, int], pl.DataFrame]") -> None:
    axis, zero = axes[0], silver["ts"][0]
    axis.plot((silver["ts"] - zero) / 1e9, silver["mid"], color=_LINE, lw=0.8, alpha=0.7, label="mid")
    table = bars[product, 5].drop_nulls(["open"])
    x, width = (table["bar_start"] - zero) / 1e9 + 2.5, 3.2
    colours = [_UP if c >= o else _DOWN for o, c in zip(table["open"], table["close"], strict=True)]
    axis.use_sticky_edges = False
    axis.scatter(x, table["close"], marker="_", s=60, color=colours)
    axis.vlines(x, table["low"], table["high"], color=colours, lw=1)
    bottom = table.select(low="open", high="close").min_horizontal()
    height = (table["open"] - table["close"]).abs()
    axis.bar(x, height, width, bottom=bottom, color=colours, alpha=0.75, label="trades, 5 s bars")
    axis.legend(frameon=False, fontsize=9)
    _style(axis, f"{product}: price", "USD")


def _spread_depth(
    axes: "Any", product: str, silver: "pl.DataFrame", bars: "dict[tuple[str, int], pl.DataFrame]"
) -> None:
    x = (silver["ts"] - silver["ts"][0]) / 1e9
    axes[0].step(x, silver["spread_bps"], where="post", color=_LINE, lw=0.7)
    axes[0].set_ylim(bottom=0)
    _style(axes[0], f"{product}: spread", "bps of mid")
    axes[1].plot(x, silver["depth_notional_bid_n10"] / 1e3, color=_BID, lw=0.9, label="bids")
    axes[1].plot(x, silver["depth_notional_ask_n10"] / 1e3, color=_ASK, lw=0.9, label="asks")
    axes[1].set_ylim(bottom=0)
    axes[1].legend(frameon=False, fontsize=9)
    _style(axes[1], f"{product}: depth of the best 10 levels", "thousand USD")


def _ofi(axes: "Any", product: str, silver: "pl.DataFrame", bars: "dict[tuple[str, int], pl.DataFrame]") -> None:
    import numpy as np

    table = bars[product, 1].drop_nulls(["mid_ret", "ofi_sum"])
    x, y = table["ofi_sum"].to_numpy(), table["mid_ret"].to_numpy() * 1e4
    axes[0].axhline(0, color="#999999", lw=0.6)
    axes[0].axvline(0, color="#999999", lw=0.6)
    axes[0].scatter(x, y, s=16, color=_LINE, alpha=0.65)
    label = "1 s bars"
    if len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0:
        slope, intercept = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axes[0].plot(ends, intercept + slope * ends, color=_ASK, lw=1.5)
        label = f"1 s bars: n = {len(x)}, R² = {np.corrcoef(x, y)[0, 1] ** 2:.2f}"
    _style(axes[0], f"{product}: {label}", "mid change, bps", "order flow imbalance, base")
