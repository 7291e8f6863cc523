import asyncio

import pytest

from daedalus.shared import tasks
from daedalus.shared.tasks import end_tasks, to_the_end


async def test_clean_up_is_done_whole_however_often_it_is_told_to_stop():
    entered, may_end, steps = asyncio.Event(), asyncio.Event(), []

    async def clean_up():
        entered.set()
        await may_end.wait()
        steps.append("closed")

    async def work():
        await to_the_end(clean_up())
        steps.append("went on")

    working = asyncio.create_task(work())
    await entered.wait()
    for _ in range(2):
        working.cancel()
        await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert steps == ["closed"]


async def test_what_clean_up_raises_is_raised():
    async def clean_up():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await to_the_end(clean_up())


async def test_a_task_that_swallows_a_cancellation_is_told_again(monkeypatch):
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)
    told = []

    async def deaf():
        while len(told) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append(True)
        raise ValueError("nobody hears this")

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert task.done() and len(told) == 2
