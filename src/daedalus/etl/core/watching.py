"""The watcher: follows the tables of a lake while it is being recorded."""

import threading
from collections.abc import Callable, Sequence

from daedalus.etl.core.following import Follower
from daedalus.etl.core.report import Progress, Report
from daedalus.etl.transforms.base import Market
from daedalus.shared.clock import Clock

#: Looking for late segments lists all that is recorded: not more often than this, seconds, ...
LATE_EVERY_S = 60.0
#: ... and for one part in so many of the time at most.
_LATE_SHARE = 20


class Watcher:
    """Looks for new segments at an interval and brings each table in step with them, market by market.

    Memory: what the executor needs for one market, and about 100 bytes for each hour folder that is recorded.

    Parameters
    ----------
    followers
        One a table.
    interval_s
        Seconds between two looks.
    clock
        For the time between two looks for late segments.
    stop
        When set, `run` returns: an hour that is being written is given up, finished ones stand.
    told
        Called with the table, the market and what was done or went wrong; never with nothing.
    """

    def __init__(
        self,
        followers: Sequence[Follower],
        *,
        interval_s: float,
        clock: Clock,
        stop: threading.Event,
        told: Callable[[str, Market, Report], None],
    ) -> None:
        self._followers, self._interval_s, self._clock = followers, interval_s, clock
        self._stop, self._told = stop, told
        self._late_at = clock.monotonic()

    def run(self) -> None:
        """Follow until told to stop."""
        while not self._stop.is_set():
            self.look()
            self._stop.wait(self._interval_s)

    def look(self) -> None:
        """Do what there is to do now, once, or less when told to stop."""
        try:
            self._look()
        except KeyboardInterrupt:
            if not self._stop.is_set():
                raise

    def _look(self) -> None:
        began = self._clock.monotonic()
        is_late_due = began >= self._late_at
        for follower in self._followers:
            for market in follower.markets():
                if is_late_due:
                    self._tell(follower, market, follower.look_for_late(market))
                self._tell(follower, market, follower.follow(market))
                if self._stop.is_set():
                    return
        if is_late_due:
            now = self._clock.monotonic()
            self._late_at = now + max(LATE_EVERY_S, _LATE_SHARE * (now - began))

    def _tell(self, follower: Follower, market: Market, report: Report) -> None:
        if report.written or report.failures or report.skipped or report.notes:
            self._told(follower.table, market, report)


def interrupt_on(stop: threading.Event) -> Callable[[Progress], None]:
    """Return what gives up the hour that is being written when told to stop; for `Follower`'s `on_progress`."""

    def check(_: Progress) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    return check
