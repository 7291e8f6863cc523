"""The pages about fields, options and features say what the code says."""

import fnmatch
import re

import pytest

from daedalus.config.reference import processor_options
from daedalus.shared.schemas import CHANNELS
from tests.conftest import ROOT

DOCS = ROOT / "docs"


def test_the_options_are_those_of_the_models() -> None:
    command = "python -m daedalus.config.reference > docs/PROCESSOR_OPTIONS.md"
    assert (DOCS / "PROCESSOR_OPTIONS.md").read_text() == processor_options(), f"run: {command}"


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_field_is_explained_as_declared(channel: str) -> None:
    text, schema = (DOCS / "SEMANTICS.md").read_text(), CHANNELS[channel]
    common, own = text.split("## ticker")[0], text.split(f"## {channel}: {schema.doc}\n")[1].split("\n## ")[0]
    for column in schema.columns:
        line = f"| `{column.name}` | {column.unit} | {column.doc} |"
        assert line in own or line in common
    named = set(re.findall(r"^\| `(\w+)` \|", own, flags=re.MULTILINE))
    assert named <= {column.name for column in schema.columns}


def test_features_by_use_exist() -> None:
    columns = {row.split("`")[1] for row in (DOCS / "FEATURES.md").read_text().splitlines() if row.startswith("| `")}
    table = (DOCS / "PARQUET_ETL_FEATURES.md").read_text().split("## What for")[1].split("\n## ")[0]
    patterns = re.findall(r"`([\w*]+)`", table)
    assert len(patterns) > 20
    assert not [pattern for pattern in patterns if not fnmatch.filter(columns, pattern)]


def test_files_of_the_collector_exist() -> None:
    folder = ROOT / "src" / "daedalus" / "ingestion" / "collectors"
    names = re.findall(r"`(?:ingestion/collectors/)?(\w+\.py)`", (DOCS / "CCXT_ETL_ARCHITECTURE.md").read_text())
    assert len(names) > 10
    assert not [name for name in names if not (folder / name).is_file()]
