"""Memory of a process that runs for months: what allocators keep for later is bounded, and given back now and then.

Flushes run in several threads and take and leave megabytes. glibc gives each thread a heap of its own, up to eight for
each core, and keeps what was freed there; so a recorder grew for hours without holding any more than at its start.
"""

import ctypes
from contextlib import suppress

import pyarrow as pa

#: `mallopt`'s number for the most heaps there may be, and how many that is here.
_M_ARENA_MAX, ARENAS = -8, 2


def limit_heaps() -> None:
    """Let glibc keep few heaps. To be called before threads are started; elsewhere than on glibc it does nothing."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give the system back what is not in use. Takes milliseconds; the interpreter's lock is let go meanwhile."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
