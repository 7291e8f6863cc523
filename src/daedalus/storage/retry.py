"""How often and how patiently a store is asked again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from daedalus.shared.errors import TransientStorageError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """When to give up on a store. The waits double from the first to the longest, each with jitter.

    Parameters
    ----------
    attempts
        How often a call is made at most; 1 never repeats. Each is itself made of requests that are repeated as often.
    first_wait_s, longest_wait_s
        Waits between two attempts, seconds.
    timeout_s
        How long one request may take, its body included, seconds.
    connect_timeout_s
        How long connecting may take, seconds.
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0
    timeout_s: float = 300.0
    connect_timeout_s: float = 10.0

    def call(self, operation: Callable[[], T], pause: Callable[[float], None] = time.sleep) -> T:
        """Return what an operation returns, repeating it while it raises `TransientStorageError`.

        The operation must be one that may be repeated. What it raises last, or what repeating cannot help, comes out.
        """
        wait = min(self.first_wait_s, self.longest_wait_s)
        for _ in range(self.attempts - 1):
            try:
                return operation()
            except TransientStorageError:
                pause(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, self.longest_wait_s)
        return operation()

    def waits(self) -> tuple[timedelta, timedelta]:
        """Return the first and the longest wait, of which the first must be the shorter one."""
        first = min(self.first_wait_s, self.longest_wait_s / 2.0)
        return timedelta(seconds=first), timedelta(seconds=self.longest_wait_s)
