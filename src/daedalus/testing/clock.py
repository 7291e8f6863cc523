"""A clock that moves only when told to, or when somebody sleeps."""

import asyncio

from daedalus.shared.clock import NS_PER_SECOND


class FakeClock:
    """Simulated time: `sleep` advances it at once and lets other tasks run.

    Parameters
    ----------
    start_ns
        Receive clock at the start, ns since the epoch.
    """

    def __init__(self, start_ns: int = 1_750_341_600 * NS_PER_SECOND) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the simulated receive clock."""
        return self._now_ns

    def monotonic(self) -> float:
        """Return simulated seconds."""
        return self._now_ns / NS_PER_SECOND

    def advance(self, seconds: float) -> None:
        """Move on, or back."""
        self._now_ns += int(seconds * NS_PER_SECOND)

    async def sleep(self, seconds: float) -> None:
        """Advance by that long."""
        self.advance(max(seconds, 0.0))
        await asyncio.sleep(0)
