"""A process that reads silver and gold over and over while others write it, and tells what it has seen.

As a module it runs until its input ends, then prints one JSON object: how often it looked, the errors, and of every
partition each state that it was seen in.
"""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from daedalus.lake.lake import open_lake

Seen = dict[str, set[tuple[int, str]]]
KEYS = ("exchange", "symbol", "year", "month", "day", "hour")


def states(frame: pl.DataFrame, columns: tuple[str, ...] | None) -> Mapping[str, tuple[int, str]]:
    """Return the rows of each partition of a table, and a hash of them."""
    found = {}
    for values, rows in frame.partition_by(KEYS, as_dict=True, maintain_order=True).items():
        sink = io.BytesIO()
        (rows if columns is None else rows.select(columns)).rechunk().write_ipc(sink)
        found["/".join(map(str, values))] = rows.height, hashlib.sha256(sink.getvalue()).hexdigest()
    return found


def through_lake(lake: Path, table: str) -> pl.DataFrame | None:
    return open_lake(lake).scan(table).collect() if next(lake.glob(_files(table)), None) else None


def through_names(lake: Path, table: str) -> pl.DataFrame | None:
    """Read as docs/ETL.md advises: told names and schema, Polars opens each file once."""
    names = sorted(map(str, lake.glob(_files(table))))
    if not names:
        return None
    return pl.scan_parquet(names, glob=False, schema=pl.read_parquet_schema(names[0])).collect()


def _files(table: str) -> str:
    folder = {"bars_60s": "bars/gold/duration=60"}.get(table, f"{table.removesuffix('_features')}/silver")
    return f"processed/coinbase/{folder}/**/*.parquet"


def main(lake: Path, tables: list[str], columns: tuple[str, ...] | None) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    looks, errors, seen = 0, list[str](), dict[str, Seen]()
    while not ended.is_set():
        for table in tables:
            read = (through_lake, through_names)[looks // len(tables) % 2]
            looks += 1
            try:
                frame = read(lake, table)
            except Exception as error:
                errors.append(f"{read.__name__} {table}: {type(error).__name__} {error}")
                continue
            for key, state in states(frame, columns).items() if frame is not None else ():
                seen.setdefault(table, {}).setdefault(key, set()).add(state)
    told = {table: {key: sorted(found) for key, found in by_key.items()} for table, by_key in seen.items()}
    print(json.dumps({"looks": looks, "errors": errors, "seen": told}))


class Polled:
    """What a poller told."""

    looks = 0
    errors: list[str]
    seen: dict[str, Seen]


@contextlib.contextmanager
def polled(lake: Path, tables: tuple[str, ...], columns: tuple[str, ...] | None = None) -> Iterator[Polled]:
    """Let a process read some tables of a lake for the length of a block; afterwards the result is filled."""
    command = [sys.executable, "-m", "tests.simulation.polling", str(lake), ",".join(tables), ",".join(columns or ())]
    result = Polled()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield result
        finally:
            told, _ = process.communicate()
    assert process.returncode == 0
    found = json.loads(told.splitlines()[-1])
    result.looks, result.errors = found["looks"], found["errors"]
    result.seen = {
        table: {key: {(rows, digest) for rows, digest in states} for key, states in by_key.items()}
        for table, by_key in found["seen"].items()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), tuple(filter(None, sys.argv[3].split(","))) or None)
