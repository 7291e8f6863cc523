"""Ending tasks: those that do not listen, and those that must not be stopped half-way."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

#: Seconds before a task that did not end is cancelled again.
CANCEL_AGAIN_S = 5.0


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and wait for their ends; what they raise is not raised here.

    A library in the middle of its own clean-up may swallow a cancellation: it is told again.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        for task in ended:
            _ = task.cancelled() or task.exception()  # Nobody needs to be told that nobody asked.


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do clean-up whole, although told to stop meanwhile; the cancellation is raised afterwards."""
    task, told = asyncio.create_task(work), None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as cancelled:
            told = cancelled
    task.result()
    if told is not None:
        raise told
