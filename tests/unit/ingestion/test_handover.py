"""Two connections to the same streams become one: each trade once, one book at a time, no false gap."""

from daedalus.ingestion.collectors.handover import MARGIN_NS, NEW, OLD, Handover
from daedalus.ingestion.collectors.seen_trades import TRADE_IDS_MAX, SeenTrades
from daedalus.shared.events import BookDelta, BookSnapshot, Frame, Gap, Ticker, Trade

STREAMS = [("A", "trades"), ("A", "ticker"), ("A", "l2"), ("A", "orderbook"), ("B", "orderbook")]


def trade(trade_id, now=1, price=1.0):
    return Trade(collected_at=now, exchange="x", symbol="A", trade_id=trade_id, price=price)


def ticker(last, now=1, timestamp=None):
    return Ticker(collected_at=now, exchange="x", symbol="A", last=last, timestamp=timestamp)


def delta(now, whole=False, symbol="A"):
    return BookDelta(collected_at=now, exchange="x", symbol=symbol, is_snapshot=whole, changes=b"")


def book(now, symbol="A"):
    return BookSnapshot(collected_at=now, exchange="x", symbol=symbol)


def gap(channel, symbol="A", end=None):
    return Gap(
        collected_at=1, exchange="x", symbol=symbol, channel=channel, started_at=1, ended_at=end, reason="sequence_gap"
    )


def make(tickers=()):
    return Handover(STREAMS, SeenTrades(), {t.symbol: t for t in tickers})


def test_a_trade_is_recorded_once_whoever_is_first():
    handover = make()
    assert handover.merge(OLD, [trade("1"), trade("2")]) == [trade("1"), trade("2")]
    assert handover.merge(NEW, [trade("2"), trade("3")]) == [trade("3")]
    assert handover.merge(OLD, [trade("3"), trade("4")]) == [trade("4")]


def test_of_things_without_ids_as_many_alike_as_the_richer_side_had():
    handover = make([ticker(5.0)])
    # The exchange repeats the last ticker to a new connection.
    assert handover.merge(NEW, [ticker(5.0, 9, 77)]) == []
    both = [ticker(6.0), ticker(6.0), ticker(7.0)]
    assert handover.merge(OLD, both) == both
    assert handover.merge(NEW, [ticker(6.0, 2), ticker(6.0, 2), ticker(6.0, 2), ticker(7.0, 2)]) == [ticker(6.0, 2)]
    nameless = [trade(None), trade(None)]
    assert handover.merge(NEW, nameless) == nameless
    assert handover.merge(OLD, [*nameless, trade(None)]) == [trade(None)]


def test_a_book_stays_in_order_when_batches_come_late():
    handover = make()
    assert handover.merge(OLD, [delta(8), book(8), delta(9), book(9)]) == [delta(8), book(8), delta(9), book(9)]
    late = [delta(5, whole=True), book(5), delta(7), book(7), delta(12), book(12)]
    told = [delta(10, whole=True), book(10), delta(11), book(11), delta(12), book(12)]
    assert handover.merge(NEW, late) == told
    assert handover.merge(NEW, [book(3, "B"), delta(13)]) == [book(3, "B"), delta(13)]


def test_a_book_changes_hands_with_the_new_ones_snapshot():
    handover = make()
    assert handover.merge(NEW, [delta(1), book(1)]) == []
    assert handover.merge(OLD, [delta(2), book(2)]) == [delta(2), book(2)]
    assert handover.merge(NEW, [delta(3, whole=True), book(3)]) == [delta(3, whole=True), book(3)]
    assert handover.merge(OLD, [delta(4), book(4)]) == []
    assert handover.merge(NEW, [delta(5)]) == [delta(5)]
    # Without l2 any published book is whole.
    assert handover.merge(NEW, [book(6, "B")]) == [book(6, "B")] and handover.merge(OLD, [book(7, "B")]) == []
    assert handover.switched == {"A": 3, "B": 6} and handover.torn() == {"A"}


def test_a_side_misses_only_what_the_other_does_not_bring():
    handover = make()
    of_new = [gap("trades"), gap("l2"), gap("orderbook", "B"), gap("ALL", "ALL", 1), gap("frames", "ALL", 1)]
    assert handover.merge(NEW, of_new) == of_new[3:]
    assert handover.merge(OLD, of_new) == of_new
    handover.merge(NEW, [delta(3, whole=True)])
    assert handover.merge(NEW, [gap("l2")]) == [gap("l2")] and handover.merge(OLD, [gap("l2"), gap("orderbook")]) == []


def test_frames_are_recorded_of_both():
    frame = Frame(collected_at=1, exchange="x", symbol="ALL", connection_id="c", direction="in", frame="{}")
    assert make().merge(NEW, [frame]) == [frame] == make().merge(OLD, [frame])


def test_what_is_missing_and_what_neither_may_have_brought():
    handover, second = make(), 1_000_000_000
    assert handover.missing() == sorted(STREAMS)
    handover.note_live({("A", "trades"), ("Z", "trades")}, 10 * second)
    handover.merge(NEW, [delta(11 * second, whole=True), book(12 * second, "B")])
    assert handover.missing() == [("A", "ticker")]
    assert handover.uncovered(13 * second + MARGIN_NS) == {}
    assert set(handover.uncovered(11 * second)) == {("A", "l2"), ("A", "orderbook"), ("B", "orderbook")}
    assert handover.uncovered(5 * second)[("A", "trades")] == 10 * second


def test_trades_are_remembered_within_a_bound_and_copies_are_apart():
    seen = SeenTrades()
    assert [seen.add("A", str(n)) for n in range(TRADE_IDS_MAX + 10)].count(True) == TRADE_IDS_MAX + 10
    assert not seen.add("A", str(TRADE_IDS_MAX)) and seen.add("A", "0") and not seen.knows("B")
    other = seen.copy()
    assert other.add("A", "new") and seen.add("A", "new")
