"""Warnings that come in floods: the first few alike of a minute are written, the rest are counted and told as a number.

Alike are lines of one logger and level that differ in numbers only. What a run does in order (below WARNING) is never
folded. A bad hour then costs pages and not gigabytes of log, which on a memory card matters.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

#: So many alike are written in so many seconds.
ALIKE_MAX, WINDOW_S = 5, 60.0
#: Kinds of lines that are remembered; beyond it the oldest is forgotten.
KINDS_MAX = 1000
_NOT_SAID = ("_record", "exc_info", "stack_info", "level", "logger")
_NUMBERS = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass
class _Kind:
    since: float
    shown: int = 0
    folded: int = 0


class Folding(logging.Filter):
    """Lets a record pass, or counts it. One instance serves all handlers; each record is judged once.

    Parameters
    ----------
    clock
        Seconds that never step.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._due = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record."""
        if record.levelno < logging.WARNING:
            return True
        known: bool | None = getattr(record, "passes", None)
        if known is None:
            known = record.passes = self._judge(record)
        return known

    def _judge(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now >= self._due:
            self._due = now + 1.0
            self._end_windows(now)
        key = (record.name, record.levelno, _text(record))
        kind = self._kinds.setdefault(key, _Kind(now))
        if len(self._kinds) > KINDS_MAX:
            del self._kinds[next(iter(self._kinds))]
        if kind.shown < ALIKE_MAX:
            kind.shown += 1
            return True
        kind.folded += 1
        return False

    def _end_windows(self, now: float) -> None:
        """Forget kinds whose window is over, and tell how many lines of them were not written."""
        over = [(key, kind) for key, kind in self._kinds.items() if now - kind.since >= WINDOW_S]
        for key, _ in over:
            del self._kinds[key]
        for (name, level, text), kind in over:
            if kind.folded:
                logging.getLogger(name).log(level, "%s more lines like: %s", f"{kind.folded:,}", text)


def _text(record: logging.LogRecord) -> str:
    """Return what a record says, without its numbers."""
    if isinstance(record.msg, dict):
        said = {name: value for name, value in record.msg.items() if name not in _NOT_SAID}
        event = said.pop("event", "")
        text = " ".join([str(event), *(f"{name}={value}" for name, value in sorted(said.items()))])
    else:
        text = record.getMessage()
    return _NUMBERS.sub("#", text)[:300]
