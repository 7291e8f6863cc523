"""docs/QUALITY.md: its commands run, and its table is that of the code."""

from daedalus.lake.quality.columns import COLUMNS
from daedalus.shared.events import GAP_REASONS
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "QUALITY.md").read_text()


def test_its_columns_are_those_of_the_table() -> None:
    assert "\n".join(f"| `{c.name}` | {c.unit} | {c.doc} |" for c in COLUMNS) in TEXT
    assert all(f"`{reason}`" in TEXT for reason in GAP_REASONS)
