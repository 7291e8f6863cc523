"""Trades up to a row, and gaps that end between two rows."""

import numpy as np
import pyarrow as pa
import pytest

from daedalus.etl.transforms.beside import GapResets, Trailing

SCHEMA = pa.schema([("collected_at", pa.int64())])


def chunk(*times: int) -> pa.Table:
    return pa.table({"collected_at": list(times)}, schema=SCHEMA)


def test_trailing_gives_each_row_once_up_to_the_time() -> None:
    trades = Trailing(iter([chunk(1, 2), chunk(), chunk(2, 3, 5), chunk(9)]), SCHEMA)
    asked = (0, 2, 2, 4, 9, 20)
    assert [trades.until(at)["collected_at"].to_pylist() for at in asked] == [[], [1, 2, 2], [], [3], [5, 9], []]


def test_trailing_does_not_read_ahead() -> None:
    def chunks() -> object:
        yield chunk(1, 5)
        raise AssertionError("read past what was asked for")

    assert Trailing(chunks(), SCHEMA).until(3)["collected_at"].to_pylist() == [1]  # type: ignore[arg-type]


def ledger(*entries: tuple[str, int, int, int | None]) -> list[pa.Table]:
    """Entries as (channel, received, started, ended)."""
    channel, known, started, ended = zip(*entries, strict=True) if entries else ([], [], [], [])
    names = {"collected_at": known, "started_at": started, "ended_at": ended}
    return [pa.table({"channel": list(channel), **{n: pa.array(list(v), pa.int64()) for n, v in names.items()}})]


ROWS = np.array([10, 20, 30, 40, 50], dtype=np.int64)


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        ([], []),
        ([("orderbook", 25, 20, 25)], [30]),
        ([("orderbook", 30, 20, 30)], [30]),
        ([("ALL", 30, 20, 30)], [30]),
        ([("trades", 30, 20, 30)], []),
        # Open: from right after its start, or after it became known.
        ([("orderbook", 20, 20, None)], [30]),
        ([("orderbook", 35, 20, None)], [40]),
        # Never a row before the entry was known.
        ([("orderbook", 45, 20, 30)], [50]),
        ([("orderbook", 40, 40, 40)], [40]),
        ([("orderbook", 2, 1, 2)], [10]),
        ([("orderbook", 70, 60, 70)], []),
        ([("orderbook", 30, 30, None), ("orderbook", 15, 10, 15)], [20, 40]),
    ],
)
@pytest.mark.parametrize("pieces", [[5], [1, 1, 1, 1, 1], [2, 3], [0, 3, 0, 2]])
def test_the_row_after_a_gap_is_a_reset_in_any_chunks(
    entries: list[tuple[str, int, int, int | None]], wanted: list[int], pieces: list[int]
) -> None:
    resets = GapResets("orderbook")
    resets.learn(ledger(*entries))
    flags = []
    for part in np.split(ROWS, np.cumsum(pieces)[:-1]):
        flags.append(resets.flags(part))
        resets = GapResets("orderbook", resets.previous, resets.pending)  # put down and taken up
    assert ROWS[np.concatenate(flags)].tolist() == wanted


def test_an_entry_that_is_learned_later_changes_no_row_before_it() -> None:
    entries = [("orderbook", 25, 5, 12), ("orderbook", 35, 35, None)]
    whole, late = GapResets("orderbook"), GapResets("orderbook")
    whole.learn(ledger(*entries))
    flags = []
    for entry, part in zip((entries[:1], entries[1:]), (ROWS[:3], ROWS[3:]), strict=True):
        late.learn(ledger(*entry))
        flags.append(late.flags(part))
    assert np.array_equal(np.concatenate(flags), whole.flags(ROWS))
