"""docs/FEATURES.md is what the declarations say."""

from pathlib import Path

from daedalus.etl.features.catalogue import render_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "FEATURES.md"


def test_the_page_is_in_step_with_the_declarations() -> None:
    assert PAGE.read_text() == render_markdown(), "run: daedalus features list --markdown > docs/FEATURES.md"
