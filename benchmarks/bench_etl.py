"""Bronze to silver to bars for a day of four symbols: rows a second, memory, files opened, processes, a cluster.

The day has a 20-level book a second and 2 trades a second of each symbol, a tenth of what a busy market has, so that
this ends in about two minutes; ``python -m benchmarks.bench_etl 10`` is the day in full. Times are wall times with all
that a run begins with, compiled kernels from the cache. The last lines are what one symbol's day costs in a store.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks import watch_latency
from benchmarks.etl_lake import SOURCE, SYMBOLS, Counting, write_day
from benchmarks.etl_run import maker
from benchmarks.recorded import ROOT
from daedalus.etl.core.config import FilterSpec
from daedalus.etl.core.links import Done, Job, cut_links, run_link
from daedalus.storage.base import Place
from daedalus.storage.clouds import S3Storage
from daedalus.storage.local import LocalStorage
from daedalus.testing import dask_cluster, s3_server
from daedalus.testing.fault_proxy import FaultProxy

TABLES = ("orderbook", "bars")
TWO_MIN, PEAK_MIB_MAX = 1.8, 1024


def main(hz: int = 1) -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = folder / "lake"
        rows, size = write_day(lake, hz)
        print(
            f"a day of {len(SYMBOLS)} symbols: {rows:,} books, {size / 1e6:,.0f} MB of bronze with trades", flush=True
        )
        one = measured("one process", lake, folder / "one", "1", rows)
        two = measured("two processes", lake, folder / "two", "2", rows)
        with dask_cluster.running(folder / "cluster") as cluster:
            dask = measured("Dask, two workers", lake, folder / "dask", cluster.address, rows)
            again = measured("Dask, the same workers again", lake, folder / "dask", cluster.address, rows)
        for label, gain in (("two processes", one / two), ("Dask, first", one / dask), ("Dask, again", one / again)):
            print(f"{label}: {gain:.2f} times one process {verdict(gain >= TWO_MIN, f'at least {TWO_MIN:g}')}")
        same = len({digest(folder / out) for out in ("one", "two", "dask")}) == 1
        print(f"silver and bars of all three: {verdict(same, 'the same bytes')}")
        files_opened(lake)
        in_a_store(lake, folder)
    for line in watch_latency.run():
        print(line, flush=True)


def verdict(is_met: bool, target: str) -> str:
    return f"[{'PASS' if is_met else 'SHORT'}: {target}]"


def measured(label: str, lake: Path, out: Path, how: str, rows: int) -> float:
    """Print what both layers cost, each in a process of its own; return the seconds."""
    spent = {table: result(table, lake, out, how) for table in TABLES}
    seconds = sum(one["wall_s"] for one in spent.values())
    cpu = sum(one["cpu_s"] + one["children_s"] for one in spent.values())
    peak = max(one["peak_mib"] for one in spent.values())
    print(
        f"{label:30s} {rows / seconds:10,.0f} rows/s  silver {spent['orderbook']['wall_s']:6.1f} s, bars "
        f"{spent['bars']['wall_s']:5.1f} s, CPU {cpu:6.1f} s, peak memory {peak:4.0f} MiB"
        + (f" {verdict(peak < PEAK_MIB_MAX, '< 1 GiB')}" if how == "1" else " (of the one that waits)"),
        flush=True,
    )
    if how == "1":
        sizes = ", ".join(f"{table} {one['bytes'] / len(SYMBOLS) / 1e6:.1f} MB" for table, one in spent.items())
        print(f"    a symbol's day: {cpu / len(SYMBOLS):.2f} CPU s, {sizes}")
    return seconds


def result(table: str, lake: Path, out: Path, how: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.etl_run", table, str(lake), str(out), how]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def digest(out: Path) -> str:
    """Return one hash of all files and their names."""
    store = LocalStorage(out)
    return hashlib.sha256(
        "".join(f"{i.key} {store.digest(i.key)}\n" for i in store.list("processed")).encode()
    ).hexdigest()


def files_opened(lake: Path) -> None:
    """Print how many files a filter needs, and how many were fetched, as the store counts them."""
    chosen = FilterSpec(symbol=SYMBOLS[1])
    store = Counting(lake)
    with tempfile.TemporaryDirectory() as name:
        report = maker("orderbook", store, Path(name))().run(chosen)  # type: ignore[arg-type]
    fetched = {key: count for key, count in store.fetched.items() if key.startswith("raw/")}
    needed = [i.key for i in LocalStorage(lake).list(f"raw/ready/{SOURCE}") if f"symbol={SYMBOLS[1]}/" in i.key]
    met = sorted(fetched) == sorted(needed) and set(fetched.values()) == {1} and report.files_opened == len(needed)
    there = sum(1 for _ in LocalStorage(lake).list("raw"))
    print(
        f"files: {there} in the lake, {len(needed)} needed by one symbol, {sum(fetched.values())} fetched "
        f"{verdict(met, 'each one needed, once')}"
    )


def in_a_store(lake: Path, folder: Path) -> None:
    """Print what one symbol's day asks of a real S3 server, as the links of a cluster's chain do."""
    chosen = FilterSpec(symbol=SYMBOLS[0])
    with s3_server.running(folder / "s3") as server, FaultProxy(server.endpoint_url) as proxy:
        store = S3Storage(**{**server.options("day"), "endpoint_url": proxy.endpoint_url})  # type: ignore[arg-type]
        for info in LocalStorage(lake).list("raw"):
            if f"symbol={SYMBOLS[0]}/" in info.key:
                store.put_file(info.key, lake / info.key)
        for table in TABLES:
            proxy.requests.clear()
            job = Job(maker(table, store, store), Place(store, "state") if table == "orderbook" else None)
            done: Done | None = None
            for link in itertools.chain(*cut_links(job.make(), chosen)):
                done = run_link(job, link, done, lambda _: None)
                assert not done.is_broken, done.report.failures
            print(f"requests of a symbol's day, {table}: {told(proxy.requests)}", flush=True)


def told(counts: Counter[str]) -> str:
    return f"{counts.total()}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
