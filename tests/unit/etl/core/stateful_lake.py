"""A small lake with everything that may go wrong at the borders of hours, and ways to run features over it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.etl.core.config import FeatureConfig, FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.report import Report
from daedalus.etl.core.runners import StatefulOrderbookRunner
from tests.unit.etl.core.bronze import HOUR, T0, S, books, gap, trades, write_bronze

CONFIG = FeatureConfig(max_levels=5, ofi_levels=3, horizons=(1, 30), vpin_bucket_volume=0.5, vpin_window_buckets=5)
#: Hours after T0 (14:00) with books; 16 has trades and gaps only.
HOURS = (0, 1, 3, 4)


def write_market(base: Path, symbol: str, seed: int) -> None:
    """Write books around the ends of hours, trades across them, and gaps that open in one hour and end in the next."""
    for number in HOURS:
        begin = T0 + number * HOUR
        rows = books(begin + 5 * S, 30, S // 2, seed=seed + number) + books(
            begin + HOUR - 20 * S, 38, S // 2, seed=seed
        )
        for k, row in enumerate(rows):
            row["nonce"] = number * 1000 + k
        write_bronze(base, "orderbook", rows, symbol=symbol)
    write_bronze(base, "trades", trades(T0 + 3 * S, 5 * 360, 10 * S, seed=seed), symbol=symbol)
    ends = [T0 + HOUR, T0 + 2 * HOUR, T0 + 4 * HOUR]
    entries = [gap(ends[0] - 3 * S, None), gap(ends[0] - 3 * S, ends[0] + 6 * S)]
    entries += [gap(ends[1] + 60 * S, ends[1] + 61 * S), gap(ends[2] - S, None, "ALL")]
    # Known only long after: no row before may heed it.
    entries.append({**gap(T0 + 10 * S, T0 + 12 * S), "collected_at": ends[2] + 7 * S})
    write_bronze(base, "gaps", entries, symbol=symbol)
    write_bronze(base, "ticker", tickers(T0 + 2 * S, 5 * 360, 10 * S), symbol=symbol)
    write_bronze(base, "gaps", [gap(ends[0] + 10 * S, ends[0] + 11 * S, "ALL")], symbol="ALL", journal=seed)


def tickers(start: int, count: int, step: int) -> list[dict[str, object]]:
    """Return tickers of a spot market, and of a derivative in what they carry along."""
    return [
        {
            "collected_at": start + i * step,
            "timestamp": (start + i * step - 10_000_000) // 1000,
            "bid": 99.9 + i % 7 * 0.01,
            "ask": 100.1,
            "last": 100.0 + i % 5 * 0.01,
            "high": 101.0,
            "low": 99.0,
            "base_volume": 1000.0 + i,
        }
        for i in range(count)
    ]


def run(
    base: Path, out: Path, state: Path | None = None, chosen: FilterSpec | None = None, **options: object
) -> Report:
    """Run order book features; a market's failure is left in the report."""
    mode = options.pop("mode", "overwrite_partition")
    runner = StatefulOrderbookRunner(
        CONFIG,
        InputConfig(base),
        OutputConfig(out, mode=mode),
        state_path=state,
        **options,  # type: ignore[arg-type]
    )
    return runner.run(chosen or FilterSpec())


def silver(out: Path) -> dict[str, bytes]:
    """Return the rows of each partition, as the bytes of Arrow's stream: equal bytes, equal bits."""
    found = {}
    for path in sorted((out / "processed").rglob("*.parquet")):
        table = pq.ParquetFile(path).read().combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
            writer.write_table(table.replace_schema_metadata(None))
        found[str(path.parent.relative_to(out))] = sink.getvalue().to_pybytes()
    return found
