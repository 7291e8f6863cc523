"""The template and the settings agree: every key is in it, with its default, its unit and what it does."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from daedalus.config.config import DaedalusConfig, load_config
from daedalus.config.describe import inline
from daedalus.config.keys import Key, walk
from daedalus.config.template import EXAMPLE_ENTRY, default_of, render_template, template_value

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "config" / "config.examples.yaml"
KEYS = list(walk(DaedalusConfig))
#: Of every name that ends like this, the description must name the unit.
UNITS = {"_seconds": "second", "_ms": "millisecond", "_mb": "MiB", "_bps": "basis point", "horizons": "second"}


def dotted(key: Key) -> str:
    return ".".join(key.path)


def template() -> dict[str, Any]:
    """The template's data, the commented entry of an exchange included."""
    text = TEMPLATE.read_text()
    example = re.search(r"^  exchanges: \{\}\n((?:  # .*\n)+)", text, re.MULTILINE)
    assert example is not None
    shown = re.sub(r"^  # ", "  ", example.group(1), flags=re.MULTILINE)
    data = yaml.safe_load(text.replace(example.group(0), shown))
    assert isinstance(data, dict)
    return data


def test_the_template_is_what_init_writes() -> None:
    regenerate = "daedalus config init --force --path config/config.examples.yaml"
    assert TEMPLATE.read_text() == render_template(), f"run: {regenerate}"


@pytest.mark.parametrize("key", [key for key in KEYS if key.is_leaf], ids=dotted)
def test_every_key_stands_in_the_template_with_its_default(key: Key) -> None:
    here: Any = template()
    for part in key.path:
        here = here[EXAMPLE_ENTRY if part == "{id}" else part]
    assert here == template_value(key)
    if here != default_of(key):
        assert f"Default: {inline(default_of(key))}." in TEMPLATE.read_text()


@pytest.mark.parametrize("key", KEYS, ids=dotted)
def test_every_key_says_what_it_does(key: Key) -> None:
    text = key.field.description
    assert text
    assert text in re.sub(r"\s+(# +)*", " ", TEMPLATE.read_text())
    for ending, unit in UNITS.items():
        if key.path[-1].endswith(ending):
            assert unit.lower() in text.lower(), f"name the unit: {unit}"


def test_the_template_holds_nothing_else() -> None:
    config = load_config(TEMPLATE, environ={})
    defaults = DaedalusConfig()
    assert config.model_dump(exclude={"coinbase": {"symbols"}}) == defaults.model_dump(
        exclude={"coinbase": {"symbols"}}
    )
    # With its comments taken away, the entry of an exchange is valid too.
    assert DaedalusConfig.model_validate(template()).ccxt.exchanges.keys() == {EXAMPLE_ENTRY}


def test_defaults_are_valid() -> None:
    plain = DaedalusConfig().model_dump()
    assert DaedalusConfig.model_validate(plain).model_dump() == plain


def test_every_number_is_bounded_and_every_default_within() -> None:
    for key in KEYS:
        if key.is_leaf and isinstance(default_of(key), int | float) and not isinstance(default_of(key), bool):
            assert re.search(r"from \S+ to \S+|above \S+, at most \S+", render_allowed(key)), dotted(key)


def render_allowed(key: Key) -> str:
    from daedalus.config.describe import allowed

    return allowed(key.field)


def test_models_are_all_importable_from_one_place() -> None:
    import daedalus.config.config as front

    folder = ROOT / "src" / "daedalus" / "config"
    trees = [ast.parse(path.read_text()) for path in folder.glob("*.py")]
    models = {
        node.name
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Section" for base in node.bases)
    }
    assert models
    assert models <= set(front.__all__)
