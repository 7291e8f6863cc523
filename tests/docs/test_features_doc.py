"""docs/FEATURES.md is what the declarations say, and they have every column of the catalogue."""

import re
from pathlib import Path

import pytest

from daedalus.etl.features.catalogue import render_markdown
from tests.references.catalogue_names import TEMPLATES, expanded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "FEATURES.md"
#: What tables have beyond sections 1 to 10: inputs of models (section 13), and of trades and tickers the book before.
BEYOND = r"lob_(norm|rel)_.*|microprice_stoikov"
BOOK_BEFORE = (
    r"is_late|mid|spread(_bps|_ticks)?|microprice(_dev_bps)?|imbalance_l0|log_(mid|size_ratio_l0)|touch_notional_\w+"
)
EXTRA = {"orderbook": BEYOND, "trades": BOOK_BEFORE, "ticker": rf"{BOOK_BEFORE}|ret_(300|3600)s"}


def test_the_page_is_in_step_with_the_declarations() -> None:
    assert PAGE.read_text() == render_markdown(), "run: daedalus features list --markdown > docs/FEATURES.md"


@pytest.mark.parametrize("table", TEMPLATES)
def test_the_page_has_every_column_of_the_catalogue_and_no_other(table: str) -> None:
    chapters = dict(re.findall(r"^## Table (\w+)\n(.*?)(?=^## Table |\Z)", PAGE.read_text(), re.M | re.S))
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (\w+) \| ([^\n]+) \|$", chapters[table], re.M)
    named = {row[0] for row in rows}
    assert len(named) == len(rows)
    assert sorted(expanded(table) - named) == []
    assert [name for name in sorted(named - expanded(table)) if not re.fullmatch(EXTRA[table], name)] == []
