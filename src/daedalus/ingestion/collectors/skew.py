"""How far this machine's clock is from an exchange's and how long messages take: measured, never used to alter data."""

from collections import deque
from dataclasses import dataclass
from statistics import median_low

from daedalus.shared.clock import NS_PER_SECOND, NS_PER_US

#: Messages looked at: those of so long, no more than one in so short a time.
WINDOW_S, SPACING_S = 300.0, 0.1
#: The window is cut into spans, each of which votes with its fastest message.
SPAN_S = 10.0

_SPACING_NS, _SPAN_NS, _WINDOW_NS = (int(s * NS_PER_SECOND) for s in (SPACING_S, SPAN_S, WINDOW_S))


@dataclass(frozen=True)
class ClockReading:
    """What the messages of one connection tell about the clocks.

    Attributes
    ----------
    offset_ms
        This machine's clock minus the exchange's, plus the travel of the fastest messages, which cannot be told apart
        one way: tens of ms are the distance, more is a clock that is wrong.
    latency_ms_p50, latency_ms_p99
        How much longer than the fastest messages half of all and 99 in 100 take at most.
    samples
        Messages looked at.
    """

    offset_ms: float
    latency_ms_p50: float
    latency_ms_p99: float
    samples: int


class SkewMeter:
    """Times of receipt against an exchange's times, over a sliding window of one connection. Bounded.

    The offset is the median of the spans' least delays: queues and slow messages do not raise it, and a message with a
    time from nowhere spoils one span only.
    """

    def __init__(self) -> None:
        self._last_ns = 0
        self._samples: deque[tuple[int, int]] = deque(maxlen=int(WINDOW_S / SPACING_S))

    def is_due(self, received_ns: int) -> bool:
        """Whether a message received then would be looked at: whoever has to parse a time first may save it."""
        return abs(received_ns - self._last_ns) >= _SPACING_NS

    def add(self, received_ns: int, exchange_us: int | None) -> None:
        """Look at a message: its receive clock, and the exchange's own time of it, us since the epoch."""
        self._last_ns = received_ns
        if exchange_us is not None:
            self._samples.append((received_ns, received_ns // NS_PER_US - exchange_us))

    def reset(self) -> None:
        """Begin anew: another connection, another way."""
        self._last_ns = 0
        self._samples.clear()

    def reading(self) -> ClockReading | None:
        """Return what is known, None before the first message."""
        if not self._samples:
            return None
        newest = self._samples[-1][0]
        recent = [sample for sample in self._samples if abs(newest - sample[0]) <= _WINDOW_NS]
        fastest: dict[int, int] = {}
        for received, delay in recent:
            span = received // _SPAN_NS
            fastest[span] = min(delay, fastest.get(span, delay))
        offset = median_low(fastest.values())
        delays = sorted(delay - offset for _, delay in recent)
        p50, p99 = (delays[min(len(delays) - 1, int(len(delays) * q))] / 1000 for q in (0.5, 0.99))
        return ClockReading(offset / 1000, p50, p99, len(recent))
