"""The commented template of the file of settings, made from the models: every key, its default, unit and meaning.

`config/config.examples.yaml` is this text; a test compares them. To write it anew:
``daedalus config init --force --path config/config.examples.yaml``.
"""

import textwrap
from pathlib import Path

from daedalus.config.application import DaedalusConfig
from daedalus.config.base import Section
from daedalus.config.describe import allowed, inline
from daedalus.config.keys import Key, keys_of
from daedalus.config.private_file import write_private

WIDTH = 110
_HEADER = """\
Settings of Daedalus: every key with its default. A key that is left out keeps its default; an unknown key is an error.

Environment variables win over this file, flags over both. The variable of ingestion.batch_size is
DAEDALUS__INGESTION__BATCH_SIZE; lists and mappings are JSON: DAEDALUS__COINBASE__SYMBOLS='["BTC-USD"]'.
Keys and secrets are better kept in variables; a file that holds them must be readable by its owner only (chmod 600).

`daedalus config check` finds mistakes, `daedalus config show --origins` prints what counts and where it comes from.
"""
_SELF_EVIDENT = ("text", "a mapping")
#: Name of the entry that shows how free names are used.
EXAMPLE_ENTRY = "kraken"


def render_template() -> str:
    """Return the text of the template."""
    writer = _Writer()
    writer.comment(_HEADER)
    for key in keys_of(DaedalusConfig).values():
        writer.lines.append("")
        writer.key(key)
    return "\n".join(writer.lines) + "\n"


def write_template(path: Path, force: bool = False) -> None:
    """Write the template, readable by its owner only. Raises `ConfigError` when the file exists, unless `force`."""
    write_private(path, render_template(), force)


class _Writer:
    """Collects the lines; explains a section that stands several times only once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.explained: dict[type[Section], str] = {}

    def comment(self, text: str, depth: int = 0, before: str = "# ") -> None:
        lead = "  " * depth + before
        for paragraph in text.splitlines():
            wrapped = textwrap.wrap(paragraph, WIDTH - len(lead), break_on_hyphens=False, break_long_words=False)
            self.lines += [(lead + line).rstrip() for line in wrapped or [""]]

    def key(self, key: Key, terse: bool = False, before: str = "") -> None:
        """Write one key and all below it; `before` is put before each line to comment it out."""
        depth, name = len(key.path) - 1, key.path[-1]
        lead = before + "  " * depth + name + ":"
        if not terse:
            self.comment(_comment(key), depth if not before else 0, before + "  " * depth + "# " if before else "# ")
        if key.section is not None:
            self.lines.append(lead)
            self._section(key.section, key.path, terse, before)
        elif key.entries is not None:
            self.lines.append(lead + " {}")
            self._example(key, key.entries)
        else:
            self.lines.append(f"{lead} {inline(template_value(key))}")

    def _section(self, section: type[Section], path: tuple[str, ...], terse: bool, before: str) -> None:
        first = self.explained.setdefault(section, ".".join(path))
        again = first != ".".join(path)
        if again and not terse:
            self.comment(f"The keys of {first}, which explains them.", len(path), before + "# ")
        for key in keys_of(section, path).values():
            self.key(key, terse or again, before)

    def _example(self, key: Key, entries: type[Section]) -> None:
        before = "  " * (len(key.path) - 1) + "# "
        self.lines += [f"{before}{key.path[-1]}:", f"{before}  {EXAMPLE_ENTRY}:"]
        # Depth two: right below the name of the entry, within the commented block.
        for inner in keys_of(entries, ("", "")).values():
            self.key(inner, before=before)


def _comment(key: Key) -> str:
    text = key.field.description or ""
    if not key.is_leaf:
        return text
    values = allowed(key.field)
    if values not in _SELF_EVIDENT:
        text += f" Allowed: {values}."
    if key.field.examples:
        text += f" Default: {inline(default_of(key))}."
    return text


def default_of(key: Key) -> object:
    """Return a leaf's default as plain data."""
    return key.field.get_default(call_default_factory=False)


def template_value(key: Key) -> object:
    """Return the value that the template shows: the default, or an example where the default would do nothing."""
    return key.field.examples[0] if key.field.examples else default_of(key)
