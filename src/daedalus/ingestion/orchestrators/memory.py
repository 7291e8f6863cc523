"""Memory of a process that runs for months: what allocators keep for later is bounded, and given back now and then.

Flushes run in several threads and take and leave megabytes. glibc gives each thread a heap of its own, up to eight for
each core, and keeps what was freed there; so a recorder grew for hours without holding any more than at its start.
"""

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

_T = TypeVar("_T")
#: `mallopt`'s number for the most heaps there may be, and how many that is here.
_M_ARENA_MAX, ARENAS = -8, 2


@contextmanager
def uncollected(make: Callable[[], _T]) -> Iterator[_T]:
    """Yield what a function makes; the garbage collector does not look at it, nor at what is imported meanwhile.

    Going through all that CCXT and its like make while they are loaded takes a fifth of the time that loading takes,
    and afterwards it would hold up the event loop again and again.
    """
    gc.disable()
    try:
        made = make()
        gc.freeze()
        gc.enable()
        yield made
    finally:
        gc.enable()
        gc.unfreeze()


def limit_heaps() -> None:
    """Let glibc keep few heaps. To be called before threads are started; elsewhere than on glibc it does nothing."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give the system back what is not in use. Takes milliseconds; the interpreter's lock is let go meanwhile."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
