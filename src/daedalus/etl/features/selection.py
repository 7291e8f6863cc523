"""Which columns a configuration asks for: the set, then what it includes, less what it excludes."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from daedalus.etl.features.base import Family
from daedalus.etl.features.config import FeatureConfig
from daedalus.shared.errors import ConfigError

#: Always there: without them a row cannot be placed.
ALWAYS = frozenset(("ts", "seq"))


def selected(
    declared: Sequence[Family], config: FeatureConfig, anywhere: Sequence[Family] | None = None
) -> frozenset[str]:
    """Return the names of the columns that a configuration asks for.

    Parameters
    ----------
    declared
        All families that the configuration switches on.
    config
        `feature_set` is the base; every item of `include` and `exclude` is the name of a family or of a column, or a
        pattern (``*``, ``?``, ``[..]``) for such names. What is excluded stays out.
    anywhere
        Families of all tables: an item may name what only another table has. None: `declared`.

    Raises
    ------
    ConfigError
        If an item of `include` or `exclude` names nothing that there is.
    """
    chosen = {name for family in declared for name in _of_set(family, config.feature_set)}
    known = declared if anywhere is None else anywhere
    for item in config.include:
        chosen |= _named(known, "include", item)
    for item in config.exclude:
        chosen -= _named(known, "exclude", item)
    own = {column.name for family in declared for column in family.columns}
    return frozenset((chosen | ALWAYS) & own)


def _of_set(family: Family, feature_set: str) -> Iterable[str]:
    names = [column.name for column in family.columns]
    if feature_set == "full":
        return names
    patterns = family.core if feature_set == "core" else (*family.core, *family.standard)
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _named(declared: Sequence[Family], key: str, item: str) -> set[str]:
    found = {
        column.name
        for family in declared
        for column in family.columns
        if fnmatchcase(family.name, item) or fnmatchcase(column.name, item)
    }
    if not found:
        names = ", ".join(dict.fromkeys(family.name for family in declared))
        raise ConfigError(
            f"processor_options.{key} has {item!r}, which is no family, column or pattern of columns; "
            f"`daedalus features list` shows them; families: {names}"
        )
    return found


def with_needs(declared: Sequence[Family], names: Iterable[str]) -> tuple[Family, ...]:
    """Return the named families and, first, those that they need.

    Raises
    ------
    ConfigError
        If a name is not that of a family.
    """
    known = {family.name: family for family in declared}
    wanted = set(names)
    unknown = sorted(wanted - set(known))
    if unknown:
        raise ConfigError(f"no such feature family: {', '.join(unknown)}; there are: {', '.join(known)}")
    owner = {column.name: family.name for family in declared for column in family.columns}
    owner.update({name: name for name in known})
    left = list(wanted)
    while left:
        for name in {owner[column] for column in known[left.pop()].needs} - wanted:
            wanted.add(name)
            left.append(name)
    return tuple(family for family in declared if family.name in wanted)
