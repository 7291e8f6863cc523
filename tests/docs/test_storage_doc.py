"""docs/STORAGE.md: its settings are valid, its policies parse."""

import json
import re

import pytest

from daedalus.cli.stores import open_store
from daedalus.config.config import load_config
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "STORAGE.md").read_text()
STORES = ("etl_storage_input", "etl_storage_output", "sync.source", "sync.destination")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    assert found
    return found


@pytest.mark.parametrize("block", blocks("yaml"))
def test_settings_are_valid_and_name_stores(block: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "config.yaml"
    path.write_text(block)
    config = load_config(path, environ={})
    for name in STORES:
        open_store(config, name)


@pytest.mark.parametrize("block", blocks("json"))
def test_policies_parse(block: str) -> None:
    json.loads(block)


def test_the_backends_are_those_of_the_table() -> None:
    from daedalus.storage.factory import BACKENDS

    assert re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE) == list(BACKENDS)
