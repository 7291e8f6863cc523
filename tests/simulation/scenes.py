"""Recordings of several markets at the same time: most of what one takes is waiting."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from daedalus.ingestion.collectors.base import Collector
from daedalus.ingestion.orchestrators.ingestion_pipeline import IngestionPipeline
from daedalus.ingestion.writers.parquet_writer import StreamingParquetWriter

Scene = Callable[[Path], Awaitable[Any]]
PATIENCE_S = 60.0


def quick_pipeline(base: Path, collectors: Sequence[Collector], source: str = "coinbase") -> IngestionPipeline:
    """Return a recorder that flushes and connects again soon, with seeded jitter."""
    return IngestionPipeline(
        source=source,
        collectors=collectors,
        writer=StreamingParquetWriter(base_dir=base, source=source),
        flush_interval_seconds=0.3,
        reconnect_delay_seconds=0.05,
        reconnect_delay_max_seconds=0.2,
        rng=random.Random(1),
    )


async def stop_after(stop: asyncio.Event, seconds: float, is_done: Callable[[], bool]) -> None:
    """End a recording after so long, and on a busy machine not before it has seen what it was made for.

    What does not happen within another minute is left to the test to find missing.
    """
    await asyncio.sleep(seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not is_done():  # noqa: ASYNC110 (nobody tells when)
                await asyncio.sleep(0.05)
    stop.set()


class Recorded:
    """Where each scene was recorded, and what came of it.

    Parameters
    ----------
    base
        Each scene gets a folder of its own in it.
    scenes
        Coroutine functions of that folder, by name.
    together
        How many run at once: with 5 of a hundred updates a second each, a process is busy for half of the time.
    """

    def __init__(self, base: Path, scenes: Mapping[str, Scene], together: int = 5) -> None:
        self._base, self._scenes = base, scenes
        self._outcomes = dict(zip(scenes, asyncio.run(self._run(together)), strict=True))

    async def _run(self, together: int) -> list[Any]:
        room = asyncio.Semaphore(together)

        async def one(name: str) -> Any:
            async with room:
                self.folder(name).mkdir()
                return await self._scenes[name](self.folder(name))

        return await asyncio.gather(*map(one, self._scenes), return_exceptions=True)

    def folder(self, name: str) -> Path:
        """Return the lake of a scene."""
        return self._base / name

    def outcome(self, name: str) -> Any:
        """Return what a scene returned, or raise what it raised."""
        if isinstance(self._outcomes[name], BaseException):
            raise self._outcomes[name]
        return self._outcomes[name]
