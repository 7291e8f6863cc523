"""Which segments were consumed: by name, and merged ones by their rows."""

import pytest

from daedalus.etl.core.consumed import not_consumed
from daedalus.shared.segment import SegmentName


def name(journal: int, rows: int) -> str:
    return SegmentName(f"20250619T140000Z-{journal:08x}", 0, rows - 1).file_name()


A, B, C = name(1, 10), name(2, 20), name(3, 5)


@pytest.mark.parametrize(
    ("listed", "consumed", "late"),
    [
        ([A, B], [A, B], []),
        ([A, B, C], [A, B], [C]),
        ([B], [A, B], []),  # one was removed after it went up
        ([name(9, 30), C], [A, B, C], []),  # merged
        ([name(9, 30), C], [A, B], [C]),  # merged, and a late one
        ([name(9, 15), name(8, 15), C], [A, B], [C, name(8, 15), name(9, 15)]),  # cannot be told
        (["other.parquet"], [A], ["other.parquet"]),
    ],
)
def test_not_consumed(listed: list[str], consumed: list[str], late: list[str]) -> None:
    assert not_consumed(listed, consumed) == sorted(late)
