"""One measurement of the feature benchmark, in a process of its own.

``python -m benchmarks.feature_run SET FOLDER HOURS`` prints one line of JSON. With ``--wait`` it gets ready, prints a
line, and starts when it is sent one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.feature_market import ROWS, book_file, trade_file
from benchmarks.measure import memory_kib
from daedalus.etl.features.chunks import book_chunk, trade_chunk
from daedalus.etl.features.config import FeatureConfig
from daedalus.etl.features.engine import FeatureSet

BOOK_COLUMNS = ["collected_at", "timestamp", "nonce", "bids", "asks"]
TRADE_COLUMNS = ["collected_at", "timestamp", "side", "price", "amount"]


def read_hours(folder: Path, hours: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield row groups of books, each with the trades received by its last row."""
    left = None
    for hour in range(hours):
        trades = pq.read_table(trade_file(folder, hour), columns=TRADE_COLUMNS, use_threads=False)
        left = trades if left is None else pa.concat_tables([left, trades])
        file = pq.ParquetFile(book_file(folder, hour))
        for group in range(file.num_row_groups):
            books = file.read_row_group(group, columns=BOOK_COLUMNS, use_threads=False)
            last = books["collected_at"][-1].as_py()
            upto = int(np.searchsorted(left["collected_at"].to_numpy(), last, "right"))
            yield books, left.slice(0, upto)
            left = left.slice(upto)


def compute(features: FeatureSet, folder: Path, hours: int) -> Iterator[pa.RecordBatch]:
    """Read, clean, compute, turn to Arrow: what the transform does without its file system."""
    state = features.new_state()
    for books, deals in read_hours(folder, hours):
        book, trades = book_chunk(books, features.config.max_levels), trade_chunk(deals)
        for start in range(0, len(book), features.chunk_rows):
            part = book.rows(start, min(start + features.chunk_rows, len(book)))
            first, last = np.searchsorted(trades.collected_at, (_before(book, start), part.collected_at[-1]), "right")
            state, outputs = features.apply(state, part, trades.rows(int(first), int(last)))
            yield features.to_arrow(outputs)


def _before(book: object, start: int) -> int:
    return int(book.collected_at[start - 1]) if start else np.iinfo(np.int64).min


def waited_s() -> float:
    """Return the seconds that this thread was ready and had no core."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def main(name: str, folder: Path, hours: int, waits: bool) -> None:
    pa.set_cpu_count(1)
    features = FeatureSet(FeatureConfig(feature_set=name))
    for _ in compute(features, folder, 1):
        break
    if waits:
        print("ready", flush=True)
        sys.stdin.readline()
    wall, cpu, waited, rows = time.perf_counter(), time.process_time(), waited_s(), 0
    half = 0.0
    for batch in compute(features, folder, hours):
        rows += batch.num_rows
        if not half and 2 * rows >= hours * ROWS:
            half = time.process_time() - cpu
    spent = {"rows": rows, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "half_cpu_s": half}
    # Not what it stood ready without a core.
    spent["own_s"] = spent["wall_s"] - (waited_s() - waited)
    print(json.dumps({**spent, "columns": len(features.columns), "peak_mib": memory_kib("VmHWM") / 1024}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), "--wait" in sys.argv)
