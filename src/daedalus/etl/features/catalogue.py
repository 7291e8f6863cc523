"""What the feature families declare, as text: the list, one entry, and the page of the documentation."""

from fnmatch import fnmatchcase

from daedalus.etl.features.base import Family
from daedalus.etl.features.config import FEATURE_SETS, FeatureConfig
from daedalus.etl.features.registry import families
from daedalus.etl.features.selection import selected
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import Column

_HEAD = """# Features

Every column of silver at default settings, written by `daedalus features list --markdown` from the declarations of the
families. Undefined is null; nothing is infinite. `processor_options.feature_set` chooses `core`, `standard` (default)
or `full`; `include` and `exclude` add and remove families or columns, by name or pattern. Windows `{w}s` follow
`horizons`; a column that names its own window keeps it.

"""


def _sets(config: FeatureConfig) -> dict[str, frozenset[str]]:
    """Return the columns of every set, without what the configuration includes and excludes."""
    options = {field: getattr(config, field) for field in config.__dataclass_fields__}
    plain = {**options, "include": (), "exclude": ()}
    bases = {name: FeatureConfig(**{**plain, "feature_set": name}) for name in FEATURE_SETS}
    return {name: selected(families(base), base) for name, base in bases.items()}


def _smallest(name: str, sets: dict[str, frozenset[str]]) -> str:
    return next(label for label in FEATURE_SETS if name in sets[label])


def render_list(config: FeatureConfig) -> str:
    """Return the selected columns, one a line, by family."""
    declared = families(config)
    shown = selected(declared, config)
    lines = []
    for family in declared:
        own = [column for column in family.columns if column.name in shown]
        if own:
            lines.append(f"{family.name}: {family.doc} ({len(own)})")
            lines += [f"  {column.name:36s} {column.unit:12s} {column.doc}" for column in own]
    lines.append(f"{len(shown)} columns")
    return "\n".join(lines) + "\n"


def render_column(config: FeatureConfig, name: str) -> str:
    """Return what there is to say of the columns of that name, pattern or family.

    Raises
    ------
    ConfigError
        If there is none.
    """
    sets = _sets(config)
    entries = [
        _entry(family, column, sets)
        for family in families(config)
        for column in family.columns
        if family.name == name or fnmatchcase(column.name, name)
    ]
    if not entries:
        raise ConfigError(
            f"no feature, family or pattern of features {name!r}: `daedalus features list --feature-set full`"
        )
    return "\n".join(entries)


def _entry(family: Family, column: Column, sets: dict[str, frozenset[str]]) -> str:
    params = ", ".join(f"{key} = {value}" for key, value in sorted(family.params.items())) or "none"
    state = ", ".join(field.name for field in family.fields) or "none"
    return (
        f"{column.name}\n"
        f"  meaning     {column.doc}\n"
        f"  type, unit  {column.dtype}, {column.unit or 'none'}\n"
        f"  family      {family.name}, version {family.version}: {family.doc}\n"
        f"  smallest set with it  {_smallest(column.name, sets)}\n"
        f"  parameters  {params}\n"
        f"  needs       {', '.join(family.needs) or 'the book'}\n"
        f"  state       {state}\n"
    )


def render_markdown() -> str:
    """Return the page of the documentation: every column at default settings."""
    config = FeatureConfig(feature_set="full")
    sets = _sets(config)
    counts = ", ".join(f"`{name}` {len(sets[name])}" for name in FEATURE_SETS)
    parts = [_HEAD, f"Columns: {counts}.\n"]
    for family in families(config):
        parts.append(
            f"\n## {family.name}: {family.doc}\n\n| column | type | unit | set | meaning |\n|---|---|---|---|---|\n"
        )
        parts += [
            f"| `{c.name}` | {c.dtype} | {c.unit} | {_smallest(c.name, sets)} | {c.doc.replace('|', chr(92) + '|')} |\n"
            for c in family.columns
        ]
    return "".join(parts)
