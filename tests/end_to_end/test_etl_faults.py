"""What can go wrong with one market, through the command line: it is named, nothing is half, the others go on."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.etl.core.bronze import HOUR, T0, S, books, write_bronze

FEW = ("--feature-set", "core")
#: Bytes that a file may have: the rows of the large market do not fit.
FILE_BYTES_MAX = 300_000


def run(lake: Path, *arguments: object, file_bytes_max: int = FILE_BYTES_MAX) -> subprocess.CompletedProcess[str]:
    """Run a command on a disk that takes no larger files."""
    limit = (file_bytes_max, resource.RLIM_INFINITY)
    return subprocess.run(
        [sys.executable, "-m", "daedalus.cli.main", *map(str, arguments), "--base-dir", str(lake), *FEW],
        cwd=lake.parent,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=110,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )


def spoiled(lake: Path) -> dict[str, Path]:
    """Write markets of two hours; return the file that is at fault, by symbol."""
    faults = {}
    for symbol in ("CUT-USD", "OLD-USD", "BACK-USD", "BIG-USD", "GOOD-USD"):
        for hour in range(2):
            count = 1500 if symbol == "BIG-USD" and hour else 20
            paths = write_bronze(lake, "orderbook", books(T0 + hour * HOUR, count, S), symbol=symbol, journal=hour)
        faults[symbol] = paths[0]
    faults["CUT-USD"].write_bytes(faults["CUT-USD"].read_bytes()[:-9])
    pq.write_table(pq.ParquetFile(faults["OLD-USD"]).read().drop_columns(["nonce"]), faults["OLD-USD"])
    table = pq.ParquetFile(faults["BACK-USD"]).read()
    clock = pa.array(table["collected_at"].to_numpy() - HOUR)
    pq.write_table(
        table.set_column(table.schema.get_field_index("collected_at"), "collected_at", clock), faults["BACK-USD"]
    )
    return faults


@pytest.mark.parametrize("command", [("features", "orderbook"), ("watch", "--once", "--tables", "orderbook")])
def test_each_fault_is_named_and_stops_its_own_market_only(tmp_path: Path, command: tuple[str, ...]) -> None:
    lake = tmp_path / "lake"
    faults = spoiled(lake)
    done = run(lake, *command)
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    for symbol, words in (
        ("CUT-USD", "cannot be read as Parquet"),
        ("OLD-USD", "has no column nonce"),
        ("BACK-USD", "has rows of 2025-06-19T14:00:00, and its folder is another hour"),
    ):
        assert f"{faults[symbol]} {words}" in told, symbol
    silver = lake / "processed/coinbase/orderbook/silver/exchange=coinbase"
    assert f"cannot write {silver}/symbol=BIG-USD/year=2025/month=06/day=19/hour=15/features.parquet" in told
    assert "File too large" in told
    # Of the others the hour before stands, and of the good one all does.
    there = sorted(str(path.relative_to(silver)) for path in silver.rglob("*") if path.is_file())
    hours = [f"symbol={symbol}/year=2025/month=06/day=19/hour=14/features.parquet" for symbol in sorted(faults)]
    assert there == sorted([*hours, hours[0].replace("BACK", "GOOD").replace("hour=14", "hour=15")])
    assert all(pq.ParquetFile(silver / name).metadata.num_rows == 20 for name in there)
