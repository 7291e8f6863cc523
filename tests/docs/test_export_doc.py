"""docs/EXPORT.md: its commands run, and it names every format."""

import re

from daedalus.cli.export import ExportFormat
from daedalus.lake.export.formats import FORMATS
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "EXPORT.md").read_text()


def test_it_names_every_format() -> None:
    assert set(FORMATS) == {kind.value for kind in ExportFormat} == set(re.findall(r"--format (\w+)", TEXT))
