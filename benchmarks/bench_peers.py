"""Beside what others built, as they ship it: cryptofeed's Coinbase handler, nautilus_trader's catalog, gzipped frames.

The peers run in an environment of their own, `temp/peers`, which is made on the first run from the pinned packages of
benchmarks/peers/packages.txt. Same frames and same rows for all, one after another in rounds, CPU time, the best of
each. What each figure includes is said beside it.
"""

import asyncio
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import polars as pl

import daedalus
from benchmarks import recorded
from benchmarks.bench_ingest import COINBASE_ID, coinbase_frames
from daedalus.shared.events import Event, Frame

ROUNDS, FRAMES, REPEATS = 3, 20_000, 10
FOLDER = Path(__file__).parent / "peers"
ENVIRONMENT = recorded.ROOT / "temp" / "peers"
PYTHON = ENVIRONMENT / "bin" / "python"
#: How long the market of the recording lasts; it is played so often, one after the other.
SPAN_NS = 40 * 1_000_000_000


def main() -> None:
    """Print the comparisons."""
    _prepare()
    with tempfile.TemporaryDirectory() as folder:
        _handlers(Path(folder))
        data = recorded.folder()
        if data is None:
            print("\ncatalogs on a real market: no recordings (DAEDALUS_TEST_DATA), left out")
            return
        _catalogs(Path(folder), data)


def _prepare() -> None:
    if PYTHON.exists():
        return
    print(f"installing the peers into {ENVIRONMENT.relative_to(recorded.ROOT)} (some 300 MB, once)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    packages = str(FOLDER / "packages.txt")
    pip = [str(PYTHON), "-m", "pip", "--quiet", "--quiet", "install", "--require-hashes", "--no-deps"]
    subprocess.run([*pip, "-r", packages], check=True)


def _peer(script: str, *arguments: object) -> dict[str, float]:
    command = [str(PYTHON), str(FOLDER / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


# -- frames to books ---------------------------------------------------------------------------------------------------


def _handlers(folder: Path) -> None:
    path = folder / "frames.txt"
    path.write_text("\n".join(coinbase_frames(FRAMES)))
    rounds = [
        [
            _parse(path),
            *(_peer("cryptofeed_run.py", path, takes)["cpu_s"] / FRAMES * 1e6 for takes in ("books", "rows")),
        ]
        for _ in range(ROUNDS)
    ]
    ours, books, rows = (min(figures) for figures in zip(*rounds, strict=True))
    print(f"{FRAMES:,} level 2 frames of Coinbase, 8 changes each, from memory, to changes and 20 levels a side")
    print(f"Daedalus, both as rows         {ours:8.2f} us/frame   numbering checked")
    print(f"cryptofeed, book and changes   {books:8.2f} us/frame   {books / ours:.2f} x ours")
    print(f"cryptofeed, both as rows       {rows:8.2f} us/frame   {rows / ours:.2f} x ours")


def _parse(path: Path) -> float:
    from daedalus.ingestion.collectors.base import OpenGaps
    from daedalus.ingestion.collectors.coinbase_parser import CoinbaseParser
    from daedalus.ingestion.collectors.coinbase_settings import Carried
    from daedalus.ingestion.collectors.seen_trades import SeenTrades
    from daedalus.ingestion.collectors.watchdog import Watchdog

    carried = Carried(OpenGaps("coinbase"), SeenTrades(), watchdog=Watchdog({}))
    parser = CoinbaseParser(
        exchange="coinbase",
        symbols=(COINBASE_ID,),
        channels=("l2", "orderbook"),
        depth=20,
        interval_ms=0,
        carried=carried,
    )
    first, *frames = path.read_text().splitlines()
    parser.feed(first, time.time_ns())
    started = time.process_time()
    for frame in frames:
        parser.feed(frame, time.time_ns())
    return (time.process_time() - started) / len(frames) * 1e6


# -- rows to files and back --------------------------------------------------------------------------------------------


def _events(data: Path, repeats: int) -> list[Event]:
    """The ten Coinbase markets of 30 s, again and again."""
    return [
        msgspec.structs.replace(event, collected_at=event.collected_at + number * SPAN_NS)
        for number in range(repeats)
        for event in recorded.capture_l2(data)
    ]


def _catalogs(folder: Path, data: Path) -> None:
    """Sizes of the market as it was, speed over several times that."""
    once = _both(folder / "once", _events(data, 1))
    events = _events(data, REPEATS)
    rounds = [_both(folder / str(number), events) for number in range(ROUNDS)]
    changes = rounds[0][0]["rows"]
    print(f"\n{changes:,.0f} book changes of ten Coinbase markets ({REPEATS} x 30 s), from objects to files and back")
    for who, name in enumerate(("Daedalus", "nautilus")):
        count = once[who]["rows"]
        rates = [max(both[who]["rows"] / both[who][name] for both in rounds) for name in ("write_s", "read_s")]
        print(
            f"{name:<9} {once[who]['bytes'] / count:6.2f} bytes/row (30 s once)"
            f"   write {rates[0]:>9,.0f} rows/s   read {rates[1]:>11,.0f} rows/s"
        )
    lines = (f"{event.collected_at} {event.frame}\n" for event in recorded.capture_frames(data) if type(event) is Frame)
    packed = len(gzip.compress("".join(lines).encode()))
    print("Daedalus: written through queue, journal, fsync and seal; read into Polars columns")
    print("nautilus: write_data and query of its own objects, which are made before; one file a market")
    print(
        f"gzipped lines of all frames, as hftbacktest's collector keeps them: {packed / once[0]['rows']:.2f} bytes/row"
    )


def _both(base: Path, events: list[Event]) -> tuple[dict[str, float], dict[str, float]]:
    """Write and read the same rows with both."""
    ours = _ours(base / "lake", events)
    columns = ["collected_at", "symbol", "timestamp", "side", "price", "size"]
    rows = daedalus.open_lake(base / "lake").scan("l2", columns=columns).collect()
    rows.with_columns(pl.col("timestamp").dt.epoch("us")).write_parquet(base / "rows.parquet")
    theirs = _peer("nautilus_run.py", base / "rows.parquet", base / "catalog")
    if theirs["rows"] != ours["rows"]:
        raise RuntimeError(f"of {ours['rows']:,.0f} rows the catalog gave back {theirs['rows']:,.0f}")
    return ours, theirs


def _ours(base: Path, events: list[Event]) -> dict[str, float]:
    from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter

    async def record() -> None:
        writer = StreamingParquetWriter(base_dir=base, source="coinbase")
        await writer.start()
        for start in range(0, len(events), 500):
            await writer.write(events[start : start + 500])
            await writer.flush()
        await writer.close()

    started = time.process_time()
    asyncio.run(record())
    written = time.process_time() - started
    started = time.process_time()
    rows = daedalus.open_lake(base).scan("l2").collect().height
    read = time.process_time() - started
    size = sum(path.stat().st_size for path in (base / "raw" / "ready" / "coinbase" / "l2").rglob("*.parquet"))
    return {"write_s": written, "read_s": read, "rows": rows, "bytes": size}
