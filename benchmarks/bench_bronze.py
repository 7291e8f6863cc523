"""Bronze: what recording costs, and what it leaves on disk, beside three plain ways to write the same rows.

Every measurement runs in a process of its own. Targets are marked PASS or SHORT; timings on a shared machine vary.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import recorded
from benchmarks.bronze_run import EACH, JOURNAL_MB, PEER_EACH, PEERS, STREAMS
from benchmarks.sizes import Size, ndjson_bytes, segment_sizes, total
from daedalus.shared.events import Event

RATE_MIN, RSS_MIB_MAX, RATIO_MIN, LAG_MS_MAX = 40_000, 150, 4, 50
#: Speed is the best of so many runs: the others measure the neighbours.
RUNS = 2
SMALL = (1_000, 10_000, 40_000)
#: Bytes a row at the most, and how often smaller than lines of JSON at the least.
BOUNDS = {"orderbook": (16, 45), "trades": (25, None), "ticker": (18, None)}


def run(name: str, folder: Path | None = None) -> dict[str, float]:
    """Measure something in a process and a directory of its own."""
    with tempfile.TemporaryDirectory() as own:
        command = [sys.executable, "-m", "benchmarks.bronze_run", name, str(folder or own)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=recorded.ROOT)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def verdict(is_met: bool, target: str) -> str:
    """A target, and whether it is met."""
    return f"[{'PASS' if is_met else 'SHORT'}: {target}]"


def main() -> None:
    """Print all of it."""
    peers = {name: run(name) for name in PEERS}
    mix = speed(peers)
    disk_of_the_mix(mix, peers)
    minute()
    sealing()
    data = recorded.folder()
    if data is None:
        print("\nsizes on real markets: no recordings (DAEDALUS_TEST_DATA), left out")
        return
    sizes(data)
    small_segments(data)


def speed(peers: dict[str, dict[str, float]]) -> dict[str, float]:
    """Records a second through the queue, CPU and memory."""
    print(f"speed: {EACH:,} 20-level books and {EACH:,} trades of ten symbols; peers: {PEER_EACH:,} of each")
    runs = [run("ours") for _ in range(RUNS)]
    best = min(runs, key=lambda result: result["wall_s"])
    rate = best["rows"] / best["wall_s"]
    print(f"  {'':24}{'records/s':>12}{'ours is':>10}{'CPU us/record':>16}{'RSS above start, MiB':>23}")
    print(f"  {'Daedalus':24}{rate:12,.0f}{'':10}{best['cpu_s'] / best['rows'] * 1e6:16.1f}{best['rss_mib']:23.0f}")
    ratios = {}
    for name, result in peers.items():
        other = result["rows"] / result["wall_s"]
        ratios[name] = rate / other
        cpu = result["cpu_s"] / result["rows"] * 1e6
        print(f"  {name:24}{other:12,.0f}{ratios[name]:9.1f}x{cpu:16.1f}{result['rss_mib']:23.0f}")
    print(f"  {verdict(rate >= RATE_MIN, f'{RATE_MIN:,} records/s')}")
    print(f"  {verdict(best['rss_mib'] <= RSS_MIB_MAX, f'at most {RSS_MIB_MAX} MiB above the start')}")
    print(f"  {verdict(ratios['open ParquetWriter'] >= RATIO_MIN, f'{RATIO_MIN} times the open ParquetWriter')}")
    print(f"  dropped {best['dropped']:.0f}; sealing took {best['children_s']:.1f} s of CPU in processes of its own")
    return best


def disk_of_the_mix(mix: dict[str, float], peers: dict[str, dict[str, float]]) -> None:
    """Bytes a row of the synthetic mix."""
    ours = mix["disk_bytes"] / mix["rows"]
    print(
        f"\nbytes a row of that mix on disk (a synthetic market: see the real ones below)\n  {'Daedalus':24}{ours:8.1f}"
    )
    for name, result in peers.items():
        other = (result["book_bytes"] + result["trade_bytes"]) / 2
        print(f"  {name:24}{other:8.1f}  {other / ours:5.1f}x")


def minute() -> None:
    """What reaches the device in a minute."""
    ours = run("minute")
    rows = ours["rows"]
    print(f"\na minute of {STREAMS} streams, 5 rows a stream every 5 s, each flush made durable ({rows:,} rows)")
    print(f"  {'':24}{'syncs':>8}{'device KiB':>12}{'more by':>10}{'seconds':>10}")
    print(f"  {'Daedalus':24}{ours['syncs']:8.0f}{ours['written'] / 1024:12,.0f}{'':10}{ours['seconds']:10.2f}")
    for name in PEERS:
        other = run(f"{name}, minute")
        ratio = other["written"] / ours["written"]
        note = "  (cannot be made durable)" if not other["syncs"] else ""
        cells = f"{other['syncs']:8.0f}{other['written'] / 1024:12,.0f}{ratio:9.1f}x{other['seconds']:10.2f}"
        print(f"  {name:24}{cells}{note}")
    print(f"  journal: {ours['journal_bytes'] / rows:.1f} bytes a row")
    hour = run("sealing syncs")
    print(
        f"  sealing an hour of them: {hour['syncs']:.0f} syncs for {hour['segments']:.0f} segments, "
        f"{hour['syncs'] / 60:.0f} a minute"
    )


def sealing() -> None:
    """A journal of 50 MB becomes segments; meanwhile, in another run, the recorder goes on."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "seal"), Path(folder, "steady")
        first.mkdir()
        filled = run("fill", first)
        shutil.copytree(first, second)
        sealed, steady = run("seal", first), run("steady", second)
    rows = filled["rows"]
    print(
        f"\nsealing a journal of {JOURNAL_MB} MiB ({rows:,.0f} rows, {filled['journal_bytes'] / rows:.1f} bytes a row)"
    )
    cpu, size = sealed["children_s"] / rows * 1e6, sealed["disk_bytes"] / rows
    print(
        f"  {sealed['wall_s']:.1f} s, {cpu:.1f} us of CPU a row, {sealed['child_peak_mib']:.0f} MiB; "
        f"{sealed['segments']:.0f} segments, {size:.1f} bytes a row"
    )
    print(
        f"  the recorder meanwhile, at 5,000 events/s: its loop was late by at most {steady['late_max_ms']:.0f} ms "
        f"(99.9 %: {steady['late_p999_ms']:.1f});\n    without the wait for a free core {steady['own_max_ms']:.0f} ms "
        f"(99.9 %: {steady['own_p999_ms']:.1f})"
    )
    print(f"  {verdict(steady['own_max_ms'] <= LAG_MS_MAX, f'loop never held up over {LAG_MS_MAX} ms')}")


def sizes(data: Path) -> None:
    """Bytes a row on real markets."""
    print(f"\nbytes a row on disk, real markets\n  {'':46}{'rows':>8}{'bytes/row':>11}{'in footers':>12}{'NDJSON':>9}")
    by_channel: dict[str, list[Size]] = {}
    for name, make in recorded.SETS.items():
        events = list(make(data))
        by_market = segment_sizes(events)
        size = total(by_market.values())
        by_channel.setdefault(next(iter(by_market))[0], []).append(size)
        _print_size(name, size, ndjson_bytes(events))
        if name.startswith("books, ten"):
            _busiest(events, by_market)
    for channel in ("trades", "ticker"):
        per_row, bound = total(by_channel[channel]).per_row, BOUNDS[channel][0]
        print(f"  {channel}, all of them: {per_row:.1f} {verdict(per_row <= bound, f'at most {bound} bytes a row')}")
    print("  columns, bytes a row:")
    for name in ("books, Coinbase BTC-USD, 10 min (2018)", "trades, Coinbase BTC-USD, 1 h (2023)"):
        size = total(segment_sizes(list(recorded.SETS[name](data))).values())
        largest = sorted(size.columns.items(), key=lambda item: -item[1])[:10]
        print(f"    {name}: " + ", ".join(f"{column} {count / size.rows:.2f}" for column, count in largest))


def _busiest(events: list[Event], by_market: dict[tuple[str, str], Size]) -> None:
    (channel, symbol), size = max(by_market.items(), key=lambda item: item[1].rows)
    lines = ndjson_bytes([event for event in events if event.symbol == symbol])
    _print_size(f"  of these {symbol}, the busiest", size, lines)
    per_row, ratio = BOUNDS[channel]
    is_met = size.per_row <= per_row and lines >= ratio * size.bytes
    print(f"    {verdict(is_met, f'at most {per_row} bytes a row, {ratio} times smaller than NDJSON')}")


def _print_size(name: str, size: Size, lines: int) -> None:
    footer = size.footer / size.rows
    ratio = f"{lines / size.rows:9,.0f}{lines / size.bytes:7.1f}x"
    print(f"  {name:46}{size.rows:8,}{size.per_row:11.2f}{footer:12.2f}{ratio}")


def small_segments(data: Path) -> None:
    """What footers and page headers cost where a segment holds little."""
    print("\nbytes a row by the size of a segment" + "".join(f"{count:>10,} rows" for count in SMALL))
    for name in (
        "books, Binance COIN-M BTC (2024)",
        "trades, Binance USD-M BTC (2024)",
        "ticker, Binance USD-M BTC (2024)",
    ):
        events = list(recorded.SETS[name](data))
        cells = [total(segment_sizes(events[:count]).values()) for count in SMALL if count <= len(events)]
        print(f"  {name:34}" + "".join(f"{size.per_row:15.2f}" for size in cells))


if __name__ == "__main__":
    main()
