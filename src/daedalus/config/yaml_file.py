"""Reading the file: YAML as plain data, with the line of every key, and mistakes that YAML itself passes over.

Only the safe loader is used: a file can name no Python object. Size, depth and aliases are bounded. Messages never
quote the text of the file, because any part of it may be a secret.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from daedalus.config.origins import KeyPath, Origin, Origins, dotted
from daedalus.config.problems import ConfigProblemsError, Problem
from daedalus.shared.errors import ConfigError

FILE_BYTES_MAX = 1 << 20
DEPTH_MAX = 32
# Aliases can make a small file large; no real one comes near.
NODES_MAX = 50_000
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_MAP, _MERGE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:merge"
_SEQUENCE = "tag:yaml.org,2002:seq"


@dataclass
class YamlFile:
    """What a file holds: its data, the line of every key and list entry, and what is wrong with it."""

    data: dict[str, object]
    origins: Origins
    problems: list[Problem] = field(default_factory=list)


def read_yaml(path: Path) -> YamlFile:
    """Read a file of settings. Problems with single keys are collected.

    Raises
    ------
    ConfigError
        If the file as a whole cannot be used: missing, unreadable, not UTF-8, not YAML, not a mapping.
    """
    text = _read_text(path)
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        builder = _Builder(loader, path)
        data = builder.build(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        raise ConfigProblemsError([_syntax_problem(error, path)]) from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    finally:
        loader.dispose()
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: must be a mapping of sections (coinbase:, storage:, ...), not a list or a single value"
        )
    return YamlFile(data, builder.origins, builder.problems)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `daedalus config init --path {path}` writes one") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX >> 20} MiB, so it is no file of settings")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file in UTF-8") from None
    control = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        raise ConfigError(f"{path}:{line}: holds the control character U+{ord(control.group()):04X}; remove it")
    return text


def _syntax_problem(error: yaml.MarkedYAMLError, path: Path) -> Problem:
    mark = error.problem_mark or error.context_mark
    words = _QUOTED.sub(_unquote, ", ".join(filter(None, (error.context, error.problem))))
    if mark and error.context_mark and error.context_mark.line != mark.line:
        words += f" (begun in line {error.context_mark.line + 1})"
    column = f" column {mark.column + 1}:" if mark else ""
    tab = "; indent with blanks, not tabs" if "\\t" in words else ""
    return Problem(f"{column} not valid YAML: {words}{tab}".strip(), Origin(str(path), mark.line + 1 if mark else None))


def _unquote(quoted: re.Match[str]) -> str:
    """Keep single characters and YAML's own tokens, hide all else."""
    text = quoted[1] or quoted[2] or ""
    return quoted[0] if len(text) <= 1 or text.startswith(("<", "\\")) else "'...'"


class _Builder:
    """Turns YAML's nodes into plain data and keeps their lines."""

    def __init__(self, loader: yaml.SafeLoader, path: Path) -> None:
        self.loader = loader
        self.file = path
        self.origins = Origins(path)
        self.problems: list[Problem] = []
        self.nodes = 0

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        """Return the data of a node and note what is wrong below it."""
        self.nodes += 1
        if len(path) > DEPTH_MAX or self.nodes > NODES_MAX:
            raise ConfigError(f"{self._at(node)}: nested too deeply, or too many aliases")
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            return [self._entry(child, (*path, at)) for at, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _at(self, node: yaml.Node) -> Origin:
        return Origin(str(self.file), node.start_mark.line + 1)

    def _entry(self, node: yaml.Node, path: KeyPath) -> object:
        self.origins.places[path] = self._at(node)
        return self.build(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        try:
            if isinstance(node, yaml.ScalarNode):
                value: object = self.loader.construct_object(node, deep=True)
                return value
        except (yaml.YAMLError, ValueError, OverflowError, AttributeError):
            pass
        # A set, a tag that is not plain YAML, or a date or number that there is not.
        words = "is not a plain value; put it in quotes to make it text"
        self.problems.append(Problem(words, self._at(node), path, unread=True))
        return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        data: dict[str, object] = {}
        lines: dict[str, Origin] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self._name(key_node, path)
            if key is None:
                continue
            if key in lines:
                text = f"stands twice, first in line {lines[key].line}; keep one"
                self.problems.append(Problem(text, self._at(key_node), (*path, key)))
            lines[key] = self._at(key_node)
            self.origins.set((*path, key), lines[key])
            data[key] = self.build(value_node, (*path, key))
        self._merge(node, path, data)
        return data

    def _name(self, node: yaml.Node, path: KeyPath) -> str | None:
        name = self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(name, str):
            return name
        where = f" in {dotted(path)}" if path else ""
        self.problems.append(Problem(f"a key{where} is not text; put it in quotes", self._at(node)))
        return None

    def _merge(self, node: yaml.MappingNode, path: KeyPath, data: dict[str, object]) -> None:
        """Add what `<<:` brings in, under the keys that stand here themselves."""
        for key_node, value_node in node.value:
            if key_node.tag != _MERGE:
                continue
            sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for source in sources:
                if not isinstance(source, yaml.MappingNode):
                    self.problems.append(Problem("`<<` must name a mapping", self._at(key_node), path))
                    continue
                self._merge_one(source, path, data)

    def _merge_one(self, source: yaml.MappingNode, path: KeyPath, data: dict[str, object]) -> None:
        own = dict(self.origins.places)
        for key, value in self._mapping(source, path).items():
            data.setdefault(key, value)
        self.origins.places |= own
