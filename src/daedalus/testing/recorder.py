"""A recorder to be killed: writes numbered events and tells, after each flush, which are durable.

Run as ``python -m daedalus.testing.recorder BASE FIRST_NUMBER EVENTS_PER_SECOND [SECONDS [JOURNAL_MB]]``. Each line
that it prints is the number of the newest acknowledged event.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter
from daedalus.shared.clock import SystemClock
from daedalus.shared.errors import StorageError
from daedalus.shared.events import BookSnapshot, Event, Trade, pack_levels

SYMBOLS = tuple(f"COIN{i:02d}/USD" for i in range(50))
FLUSH_S = 0.05


def numbered_events(first: int, count: int, rng: random.Random) -> Iterator[Event]:
    """Yield events that carry their number: a trade's id, a book's nonce."""
    clock = SystemClock()
    book = pack_levels([(100.0 - i / 100, 1.0 + i) for i in range(20)])
    for number in range(first, first + count):
        common = {"collected_at": clock.now_ns(), "exchange": "testex", "symbol": SYMBOLS[rng.randrange(50)]}
        if number % 2:
            yield Trade(**common, trade_id=str(number), price=100.0, amount=1.0, side="buy")  # type: ignore[arg-type]
        else:
            yield BookSnapshot(**common, nonce=number, bids=book, asks=book)  # type: ignore[arg-type]


async def record(base: Path, first: int, rate: int, seconds: float = 1e9, journal_mb: float = 0.1) -> None:
    """Write events at a rate until the time is over; small journals, so that rotating and sealing never stop."""
    rng = random.Random(first)
    writer = StreamingParquetWriter(base_dir=base, source="testex", journal_max_mb=journal_mb)
    await writer.start()
    number, end = first, time.monotonic() + seconds
    while time.monotonic() < end:
        count = max(1, int(rate * FLUSH_S))
        try:
            await writer.write(list(numbered_events(number, count, rng)))
            await writer.flush()
        except StorageError as error:
            sys.stderr.write(f"{error}\n")
            await asyncio.sleep(FLUSH_S)
            continue
        number += count
        sys.stdout.write(f"{number - 1}\n")
        sys.stdout.flush()
        await asyncio.sleep(FLUSH_S)
    await writer.close()


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:])))
