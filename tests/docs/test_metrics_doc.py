"""docs/METRICS.md and the dashboard name exactly the metrics that there are."""

import json
import re

from daedalus.ingestion.monitoring.metrics import METRICS, SYNC_METRICS, reference
from tests.conftest import ROOT

NAMES = [metric.name for metric in METRICS] + [name for name, *_ in SYNC_METRICS]
LABELS = {"source", *(label for metric in METRICS for label in metric.labels)}


def test_the_page_is_what_the_code_says() -> None:
    command = "python -m daedalus.ingestion.monitoring.metrics > docs/METRICS.md"
    assert (ROOT / "docs" / "METRICS.md").read_text() == reference(), f"run: {command}"


def test_names_are_of_one_form() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for metric in METRICS:
        assert re.fullmatch(r"daedalus_[a-z0-9]+(_[a-z0-9]+)*", metric.name) and metric.doc.endswith(".")
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name


def test_the_dashboard_shows_all_of_them_and_nothing_else() -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / "daedalus.json").read_text())
    asked = [target for panel in board["panels"] for target in panel["targets"]]
    named = {name for target in asked for name in re.findall(r"daedalus_\w+", target["expr"])}
    assert named == set(NAMES)
    legends = {label for target in asked for label in re.findall(r"{{(\w+)}}", target["legendFormat"])}
    assert legends <= LABELS
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) and all(panel["title"] for panel in board["panels"])
