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


def ledger(*entries: tuple[str, int, int | None]) -> list[pa.Table]:
    channel, started, ended = zip(*entries, strict=True) if entries else ([], [], [])
    return [
        pa.table({"channel": list(channel), "started_at": list(started), "ended_at": pa.array(list(ended), pa.int64())})
    ]


ROWS = np.array([10, 20, 30, 40, 50], dtype=np.int64)


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        ([], []),
        ([("orderbook", 20, 25)], [30]),
        ([("orderbook", 20, 30)], [30]),
        ([("ALL", 20, 30)], [30]),
        ([("trades", 20, 30)], []),
        ([("orderbook", 20, None)], [30]),
        ([("orderbook", 40, 40)], [40, 50]),
        ([("orderbook", 1, 2)], [10]),
        ([("orderbook", 60, 70)], []),
        ([("orderbook", 30, None), ("orderbook", 10, 15)], [20, 40]),
    ],
)
@pytest.mark.parametrize("pieces", [[5], [1, 1, 1, 1, 1], [2, 3], [0, 3, 0, 2]])
def test_the_row_after_a_gap_is_a_reset_in_any_chunks(
    entries: list[tuple[str, int, int | None]], wanted: list[int], pieces: list[int]
) -> None:
    resets = GapResets(ledger(*entries), "orderbook")
    flags = [resets.flags(part) for part in np.split(ROWS, np.cumsum(pieces)[:-1])]
    assert ROWS[np.concatenate(flags)].tolist() == wanted
