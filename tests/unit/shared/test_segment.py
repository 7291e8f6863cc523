"""Names and footers of segments, and the docstring examples of the vocabulary."""

import doctest

import pytest

from daedalus import __version__
from daedalus.ingestion.writers import journal
from daedalus.shared import clock, events, partitioning
from daedalus.shared.errors import SchemaError
from daedalus.shared.segment import SegmentFooter, SegmentName


def test_names_round_trip_and_sort_by_time():
    early = SegmentName(journal.journal_id(1_750_341_600_000_000_000, 7), 0, 99)
    late = SegmentName(journal.journal_id(1_750_341_600_000_000_001, 3), 0, 9)
    assert SegmentName.parse(early.file_name()) == early
    assert early.file_name() < late.file_name()
    for name in ("segment_x.parquet", "features.parquet", early.file_name() + ".tmp"):
        with pytest.raises(SchemaError):
            SegmentName.parse(name)


def test_footer_round_trips():
    footer = SegmentFooter("trades", 1, __version__, "j", 5, 9, 3, "BTC/USDT:USDT")
    metadata = {k.encode(): v.encode() for k, v in footer.metadata().items()}
    assert SegmentFooter.of(metadata) == footer
    with pytest.raises(SchemaError, match="not a segment"):
        SegmentFooter.of({})


@pytest.mark.parametrize("module", [clock, events, partitioning, journal])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
