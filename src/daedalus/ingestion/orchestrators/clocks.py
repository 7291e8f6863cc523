"""The clocks of a recording: what the connections tell of this machine's clock, in the statistics and as a warning."""

from collections.abc import Iterable, Mapping

import structlog

from daedalus.ingestion.collectors.base import Collector
from daedalus.ingestion.collectors.skew import ClockReading, SkewMeter

log = structlog.get_logger(__name__)

#: An offset beyond this is worth a warning, and so is each further change of as much.
OFFSET_MS_MAX = 1000.0


def clock_readings(collectors: Iterable[Collector]) -> dict[str, ClockReading]:
    """Return the readings of the collectors that measure (an attribute `skew`), by name."""
    found = {}
    for collector in collectors:
        meter = getattr(collector, "skew", None)
        reading = meter.reading() if isinstance(meter, SkewMeter) else None
        if reading is not None:
            found[collector.name] = reading
    return found


def clock_figures(readings: Mapping[str, ClockReading]) -> dict[str, float]:
    """Return the figures of the statistics line: of each the worst of all connections, ms."""
    if not readings:
        return {}
    every = list(readings.values())
    furthest = max(every, key=lambda reading: abs(reading.offset_ms))
    return {
        "clock_offset_ms": round(furthest.offset_ms, 1),
        "latency_ms_p50": round(max(r.latency_ms_p50 for r in every), 1),
        "latency_ms_p99": round(max(r.latency_ms_p99 for r in every), 1),
    }


class ClockWarnings:
    """Warns when this machine's clock and an exchange's are far apart: once, and again when that changes."""

    def __init__(self) -> None:
        self._warned_ms: dict[str, float] = {}

    def look(self, readings: Mapping[str, ClockReading]) -> None:
        """Warn where there is need."""
        for name, reading in readings.items():
            known = self._warned_ms.get(name, 0.0)
            if abs(reading.offset_ms) <= OFFSET_MS_MAX:
                self._warned_ms.pop(name, None)
            elif abs(reading.offset_ms - known) > OFFSET_MS_MAX:
                self._warned_ms[name] = reading.offset_ms
                log.warning(
                    "clock_offset",
                    collector=name,
                    seconds=round(reading.offset_ms / 1000, 3),
                    meaning="this machine's clock is ahead of the exchange's, or the line is that slow"
                    if reading.offset_ms > 0
                    else "this machine's clock is behind the exchange's",
                    action="check this machine's time service (timedatectl); the data are recorded as they come",
                )
