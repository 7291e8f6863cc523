"""The lake's disk: how long the room that is left lasts, and when something was last uploaded from it."""

import datetime as dt
import shutil
from pathlib import Path

from daedalus.ingestion.monitoring.status import Disk
from daedalus.shared.clock import NS_PER_SECOND, Clock
from daedalus.shared.segment import SegmentName
from daedalus.storage.ledger import Ledger

DAY_S = 86_400.0
#: A rate of less than this is not told: the first segments say little.
KNOWN_S_MIN = 600.0


def look_at_disk(base: Path, clock: Clock, *, max_bytes: int | None = None, min_free_bytes: int | None = None) -> Disk:
    """Return how full a lake's disk is, how long its room lasts, and when the last upload was.

    Parameters
    ----------
    base
        The lake's directory.
    max_bytes, min_free_bytes
        The budget of the settings; None for none.

    Raises
    ------
    StorageError, OSError
        If the ledger or the disk cannot be read.
    """
    there = base.absolute()
    while not there.exists():
        there = there.parent
    usage = shutil.disk_usage(there)
    room = usage.free - (min_free_bytes or 0)
    rate, uploaded = None, None
    ledger = Ledger.existing(base)
    if ledger is not None:
        with ledger:
            rate = bytes_per_day(ledger, clock.now_ns())
            uploaded = max(ledger.last_copies().values(), default=None)
            if max_bytes is not None:
                room = min(room, max_bytes - ledger.live_bytes())
    room = max(0, room)
    return Disk(usage.total, usage.free, room, rate, room / rate if rate else None, uploaded)


def bytes_per_day(ledger: Ledger, now_ns: int) -> float | None:
    """Return what was recorded and sealed within the last day, as bytes a day; None where too little is known."""
    sealed = ledger.rows("SELECT key, bytes FROM segments WHERE sealed_at > ?", (now_ns - int(DAY_S) * NS_PER_SECOND,))
    if not sealed:
        return None
    began = min(SegmentName.parse(key.rsplit("/", 1)[-1]).journal.split("-")[0] for key, _ in sealed)
    seconds = now_ns / NS_PER_SECOND - _instant(began)
    return sum(size for _, size in sealed) / seconds * DAY_S if seconds >= KNOWN_S_MIN else None


def _instant(stamp: str) -> float:
    """Return seconds since the epoch of a journal's time: 20250619T140000Z, with or without a fraction."""
    return dt.datetime.strptime(stamp[:15], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC).timestamp()
