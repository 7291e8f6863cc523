"""Small lakes, sealed in this process, and events with every value that is hard to carry."""

import struct

from daedalus.ingestion.writers import sealing
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.journal import Head, JournalWriter, SealOptions, journal_id
from daedalus.shared.events import (
    NO_TIME,
    BookDelta,
    BookSnapshot,
    Frame,
    Gap,
    Ticker,
    Trade,
    pack_changes,
    pack_levels,
)
from daedalus.testing.events import START_NS, seeded_events

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
#: 15 significant digits and more, both ends of the range, subnormals, both zeros.
FLOATS = [
    0.1,
    0.123456789012345,
    123456789.012345,
    98765.4321098765,
    0.30000000000000004,
    1e22,
    1.7976931348623157e308,
    5e-324,
    -0.0,
    0.0,
    float("inf"),
    float("-inf"),
    float("nan"),
]
TEXTS = ["", "é", "漢字 🜲", "a\x00b", '{"q": "\\"\\n\\u0000"}', "\u2028\u2029\x7f", "line\nbreak\r\n\ttab"]
#: Microseconds: the epoch, what RFC 3339 can just say and just not, int64's ends.
TIMES = [
    None,
    0,
    1,
    -1,
    START_NS // 1000,
    -62_135_596_800_000_000,
    -62_135_596_800_000_001,
    253_402_300_799_999_999,
    253_402_300_800_000_000,
    INT64_MAX,
    INT64_MIN + 1,
]


def hard_events():
    """Events of all channels whose values are hard to carry."""
    numbers = iter(range(10_000))

    def common(symbol="XBT/USDT:USDT"):
        return {"collected_at": START_NS + next(numbers) * 1001, "exchange": "testex", "symbol": symbol}

    for value in FLOATS:
        yield Ticker(**common(), bid=value, last=value, vwap=None)
        yield Trade(**common(), price=value, amount=1.0, trade_id=None, side=None)
        yield BookSnapshot(**common(), bids=pack_levels([(value, 1.0), (2.0, value)]), asks=b"")
        yield BookDelta(**common(), changes=pack_changes([(None, "bid", value, 0.0)]), is_snapshot=True)
    for text in TEXTS:
        yield Frame(**common("ALL"), connection_id="c", direction="in", frame=text)
        yield Trade(**common(), trade_id=text, info_json=text)
    for time in TIMES:
        yield Trade(**common(), timestamp=time)
        yield BookDelta(**common(), changes=pack_changes([(time, "ask", 1.0, 2.0)]))
    for number in (INT64_MIN, INT64_MAX, 0, 2**53 + 1, None):
        yield BookSnapshot(**common(), nonce=number, bids=b"", asks=b"")
        yield Gap(**common(), channel="l2", started_at=0, ended_at=number, reason="stall", missed=number, detail=None)


def sealed_lake(folder, form, *, compression="zstd", partition_by=None, flushes=None, segment_bytes=1 << 20, end=True):
    """Seal flushes of events into `folder`; return the ready directory and the journal's bytes."""
    paths = RawPaths(folder, "testex")
    for path in (paths.active, paths.ready):
        path.mkdir(parents=True)
    columns = partition_by or ("exchange", "symbol", "year", "month", "day", "hour")
    head = Head(
        journal=journal_id(START_NS, 7),
        source="testex",
        created_at=START_NS,
        writer_version="0",
        seal=SealOptions(tuple(columns), segment_bytes, compression, 3, form),
    )
    writer = JournalWriter(paths.active, head)
    market = [("exchange", "ascending"), ("symbol", "ascending")]
    for events in flushes or ordinary_flushes():
        writer.append([(channel, batch.sort_by(market)) for channel, batch in record_batches(events)])
    writer.close(ended=end)
    data = writer.path.read_bytes()
    sealing.seal(writer.path, paths)
    return paths.ready, data


def ordinary_flushes():
    """Three flushes over two hours, and the hard values."""
    starts = (START_NS, START_NS + 1_300_000_000_000, START_NS + 3_700_000_000_000)
    flushes = [list(seeded_events(200, seed=n, start_ns=t, symbols=("ETH/USD",))) for n, t in enumerate(starts)]
    return [*flushes, list(hard_events())]


def bits(value):
    """A value that compares equal only to the very same one: NaN to NaN, 0.0 not to -0.0."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, dict):
        return {key: bits(one) for key, one in value.items()}
    return [bits(one) for one in value] if isinstance(value, list) else value


assert NO_TIME == INT64_MIN
