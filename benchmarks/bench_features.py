"""Features beside their floor, decoding the Parquet that they come from, and beside a loop over rows in plain Python.

On an hour and a day of a 20-level book at 10 Hz with 2 trades a second; the day runs in a process of its own for every
set. Times are CPU seconds, the best of several rounds in which everything has its turn, so that a busy machine shows as
little as it can, and the same in all; targets are marked PASS or SHORT.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.feature_market import LEVELS, ROWS, book_file, trade_file, write_hours
from benchmarks.feature_run import BOOK_COLUMNS, compute
from benchmarks.peers.row_loop import RowLoop, objects
from benchmarks.recorded import ROOT
from daedalus.etl.core.writing import FileFormat, parquet_options
from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.config import FEATURE_SETS, FeatureConfig
from daedalus.etl.features.engine import FeatureSet
from daedalus.etl.features.live import FeatureEngine
from daedalus.shared.events import BookSnapshot, pack_levels

HOURS, ROUNDS, PEER_ROWS, LIVE_ROWS = 24, 7, 1000, 3000
#: Rounds of two processes side by side, each over the whole day.
TWO_ROUNDS = 3
RATE_MIN = {"core": None, "standard": 200_000, "full": 30_000}
FLOOR_MAX, PEER_MIN, PEAK_MIB_MAX, LIVE_US_MAX, TWO_MIN, LINEAR_MAX = 5.0, 100.0, 1024, 50.0, 1.8, 1.25


def main() -> None:
    """Print all of it."""
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_hours(folder, HOURS)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{HOURS} hours of {ROWS:,} rows, {size / HOURS / ROWS:.1f} bytes a row with trades")
        loop, hour = row_loop(folder), hours(folder)
        for name in FEATURE_SETS:
            hour_of(name, folder, hour, loop)
        for name in FEATURE_SETS:
            day_of(name, folder)
        two_symbols(folder)
        for name in FEATURE_SETS:
            live(name, folder)


def verdict(is_met: bool, target: str) -> str:
    return f"[{'PASS' if is_met else 'SHORT'}: {target}]"


def best(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least CPU seconds of each over several rounds, after one that warms up."""
    times = dict.fromkeys(works, float("inf"))
    for number in range(ROUNDS + 1):
        for name, work in works.items():
            started = time.process_time()
            work()
            if number:
                times[name] = min(times[name], time.process_time() - started)
    return times


def report(label: str, seconds: float, floor: float) -> None:
    print(f"{label:46s} {ROWS / seconds:12,.0f} rows/s  {seconds / floor:6.2f} x decoding with Polars", flush=True)


def hours(folder: Path) -> dict[str, float]:
    """Return the CPU seconds of an hour: of decoding it to contiguous [rows, levels] arrays, and of every set."""
    path = book_file(folder, 0)
    works: dict[str, Callable[[], object]] = {
        "polars": lambda: decode_polars(path),
        "pyarrow": lambda: decode_pyarrow(path),
        "clean": lambda: book_chunk(pq.read_table(path, columns=BOOK_COLUMNS, use_threads=False), LEVELS),
    }
    for name in FEATURE_SETS:
        works[name] = partial(_hour, FeatureSet(FeatureConfig(feature_set=name)), folder)
    spent = best(works)
    report("floor: decode with Polars", spent["polars"], spent["polars"])
    report("       decode with PyArrow", spent["pyarrow"], spent["polars"])
    report("       read and clean, as the engine does", spent["clean"], spent["polars"])
    return spent


def _hour(features: FeatureSet, folder: Path) -> int:
    return sum(batch.num_rows for batch in compute(features, folder, 1))


def decode_polars(path: Path) -> None:
    frame = pl.read_parquet(path, columns=["timestamp", "bids", "asks"], parallel="none")
    for name in ("bids", "asks"):
        values = frame.get_column(name).explode(empty_as_null=True).struct
        for part in ("price", "size"):
            np.ascontiguousarray(values.field(part).to_numpy().reshape(-1, LEVELS))


def decode_pyarrow(path: Path) -> None:
    table = pq.read_table(path, columns=["timestamp", "bids", "asks"], use_threads=False)
    for name in ("bids", "asks"):
        values = table.column(name).combine_chunks().values
        for part in ("price", "size"):
            np.ascontiguousarray(values.field(part).to_numpy().reshape(-1, LEVELS))


def row_loop(folder: Path) -> dict[str, float]:
    """Print what the core set costs a plain loop over rows that are Python objects already; return rows a second."""
    books, trades = pq.read_table(book_file(folder, 0)), pq.read_table(trade_file(folder, 0))
    rows, deals = objects(book_chunk(books, LEVELS), trade_chunk(trades), PEER_ROWS)
    rates = {}
    for label, loop in (("windows added up anew", RowLoop()), ("with running sums", RowLoop(running=True))):
        started = time.process_time()
        for row, received in zip(rows, deals, strict=True):
            loop.row(row, received)
        rates[label] = PEER_ROWS / (time.process_time() - started)
        print(f"{f'peer: core in plain Python, {label}':46s} {rates[label]:9,.0f} rows/s  (reading not counted)")
    return rates


def hour_of(name: str, folder: Path, hour: dict[str, float], loop: dict[str, float]) -> None:
    """Print the speed of a set over an hour."""
    features, spent, floor = FeatureSet(FeatureConfig(feature_set=name)), hour[name], hour["polars"]
    label = f"{name} ({len(features.columns)} columns): read, compute, to Arrow"
    report(label, spent, floor)
    rate = ROWS / spent
    if name == "core":
        print(f"    {verdict(spent / floor <= FLOOR_MAX, f'at most {FLOOR_MAX:g} times the floor')}")
    if RATE_MIN[name]:
        print(f"    {verdict(rate >= RATE_MIN[name], f'at least {RATE_MIN[name]:,} rows/s')}")
    anew, running = (rate / peer for peer in loop.values())
    met = verdict(anew >= PEER_MIN, f"at least {PEER_MIN:g} times") if name == "standard" else ""
    print(f"    {anew:.0f} times the plain loop {met}, {running:.0f} times the one with running sums")
    written, megabytes = silver(features, folder)
    print(f"    silver write beside it: {ROWS / written:,.0f} rows/s, {megabytes * 1e6 / ROWS:,.0f} bytes a row")


def silver(features: FeatureSet, folder: Path) -> tuple[float, float]:
    """Return the CPU seconds and megabytes of writing an hour, as the executor writes it."""
    table = pa.Table.from_batches(list(compute(features, folder, 1)))
    path = folder / "silver.parquet"
    options = parquet_options(table.schema, FileFormat((), "zstd", 3))
    started = time.process_time()
    pq.write_table(table, path, row_group_size=32_768, **options)
    spent, size = time.process_time() - started, path.stat().st_size / 1e6
    path.unlink()
    return spent, size


def worker(name: str, folder: Path, hours: int, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.feature_run", name, str(folder), str(hours), *flags]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def result(process: subprocess.Popen[str], line: str | None = None) -> dict[str, float]:
    output, _ = process.communicate(line)
    if process.returncode:
        raise RuntimeError(f"a measurement failed with exit code {process.returncode}; its message is above")
    return json.loads(output.splitlines()[-1])


def day_of(name: str, folder: Path) -> None:
    """Print speed and peak memory over a day, in a process of its own."""
    day = result(worker(name, folder, HOURS))
    linear = day["cpu_s"] / day["half_cpu_s"] - 1
    print(
        f"{f'{name}: the day':46s} {day['rows'] / day['cpu_s']:12,.0f} rows/s, second half {linear:.2f} x the first "
        f"{verdict(linear <= LINEAR_MAX, f'linear, at most {LINEAR_MAX:g}')}, peak memory {day['peak_mib']:.0f} MiB "
        f"{verdict(day['peak_mib'] < PEAK_MIB_MAX, '< 1 GiB')}",
        flush=True,
    )


def two_symbols(folder: Path) -> None:
    """Print how much faster two processes do a day of two symbols than one does them.

    By the time that the slower one took, less what it waited for a core that something else had: on an idle machine
    that is the time on the wall.
    """
    rounds = [(together(1, folder), together(2, folder)) for _ in range(TWO_ROUNDS)]
    one, two = ({key: min(r[k][key] for r in rounds) for key in ("own_s", "wall_s")} for k in (0, 1))
    gain, wall = (2 * one[key] / two[key] for key in ("own_s", "wall_s"))
    print(
        f"two symbols on two cores: {gain:.2f} times one {verdict(gain >= TWO_MIN, f'at least {TWO_MIN:g}')}; with "
        f"the waiting for other programs: {wall:.2f}"
    )


def together(count: int, folder: Path) -> dict[str, float]:
    """Return the seconds until so many processes, started at the same time, have each computed the day."""
    processes = [worker("standard", folder, HOURS, "--wait") for _ in range(count)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    spent = [result(process) for process in processes]
    return {key: max(one[key] for one in spent) for key in ("own_s", "wall_s")}


def live(name: str, folder: Path) -> None:
    """Print what one event through the live face takes."""
    book = book_chunk(pq.read_table(book_file(folder, 0), columns=BOOK_COLUMNS).slice(0, LIVE_ROWS), LEVELS)
    engine, made = FeatureEngine(FeatureConfig(feature_set=name)), []
    times, arrow = [], []
    for event in [snapshot(book, k) for k in range(LIVE_ROWS)]:
        started = time.perf_counter_ns()
        rows = engine.update([event])
        times.append(time.perf_counter_ns() - started)
        made += rows
    for rows in made[-100:]:
        started = time.perf_counter_ns()
        assert rows.features.num_rows == 1
        arrow.append(time.perf_counter_ns() - started)
    median, p99 = (float(np.percentile(times, q)) / 1000.0 for q in (50, 99))
    target = verdict(median < LIVE_US_MAX, f"< {LIVE_US_MAX:g} us") if name == "core" else ""
    print(
        f"{name}: one book through FeatureEngine.update: median {median:.1f} us {target}, 99th percentile {p99:.0f} us;"
        f" its row as Arrow, where asked for: {np.median(arrow) / 1000.0:.0f} us more"
    )


def snapshot(book: object, k: int) -> BookSnapshot:
    """Return a row as the event that a collector yields."""
    sides = [
        pack_levels(list(zip(price[k].tolist(), size[k].tolist(), strict=True)))
        for price, size in ((book.bid_price, book.bid_size), (book.ask_price, book.ask_size))
    ]
    return BookSnapshot(
        collected_at=int(book.collected_at[k]),
        exchange="synthetic",
        symbol="BTC-USD",
        timestamp=int(book.ts[k]) // 1000,
        nonce=int(book.seq[k]),
        bids=sides[0],
        asks=sides[1],
    )


if __name__ == "__main__":
    main()
