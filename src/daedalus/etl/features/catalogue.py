"""What the feature families declare, as text: the list, one entry, and the page of the documentation."""

from fnmatch import fnmatchcase

from daedalus.etl.features.base import Family
from daedalus.etl.features.config import FEATURE_SETS, FeatureConfig
from daedalus.etl.features.registry import TABLES, Table, families, shown
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import Column

_HEAD = """# Features

Every column of silver at default settings, written by `daedalus features list --markdown` from the declarations of the
families. There are three tables: a row for each order book, for each trade, and for each ticker. Undefined is null;
nothing is infinite. `processor_options.feature_set` chooses `core`, `standard` (default) or `full`; `include` and
`exclude` add and remove families or columns, by name or pattern. Windows `{w}s` follow `horizons`; a column that names
its own window keeps it. Bars stand in names too: `kyle_lambda_60s` and `cs_spread_60s` are over bars of 60 s
(`kyle_lambda` over 5 s), `amihud_60` over the last 60 of them; `realised_spread_bps_5_60s` is what trades had cost 5 s
later, of those for which that became known in the last 60 s.

Any column against its own past: list `{col}_z_{w}s`, `{col}_rank_{n}` or `{col}_ewz_hl{h}s` in
`processor_options.normalise`, where col is a column or a pattern of columns (`spread_bps_z_300s`,
`ofi_sum_*_rank_1000`). z takes the rows of the last w seconds strictly before, rank the n rows strictly before, ewz all
rows before, weighing 2^(-age / h). `lob_norm_*` is scaled by the `norm_days` UTC days before the row's own;
`microprice_stoikov` needs the table that `daedalus features calibrate-microprice` makes from past books.

"""


_ROWS: dict[Table, str] = {
    "orderbook": "one row an order book, with `exchange`, `symbol` and `collected_at` (receive clock, ns).",
    "trades": "one row a trade, with `exchange`, `symbol`, `collected_at` (receive clock, ns), `trade_id`, `price` and"
    " `amount`. Each sees the book strictly before it and the trades up to itself. A trade without a positive price and"
    " size has nulls and changes nothing else.",
    "ticker": "one row a ticker, with `exchange`, `symbol` and `collected_at` (receive clock, ns). Each sees the book"
    " strictly before it and the trades up to its time. What derivatives publish is null for spot.",
}


def _sets(config: FeatureConfig, table: Table) -> dict[str, frozenset[str]]:
    """Return the columns of every set, without what the configuration includes and excludes."""
    options = {field: getattr(config, field) for field in config.__dataclass_fields__}
    plain = {**options, "include": (), "exclude": ()}
    bases = {name: FeatureConfig(**{**plain, "feature_set": name}) for name in FEATURE_SETS}
    return {name: shown(base, table) for name, base in bases.items()}


def _smallest(name: str, sets: dict[str, frozenset[str]]) -> str:
    return next(label for label in FEATURE_SETS if name in sets[label])


def render_list(config: FeatureConfig, table: Table = "orderbook") -> str:
    """Return the selected columns of a table, one a line, by family."""
    showing = shown(config, table)
    lines = []
    for family in families(config, table):
        own = [column for column in family.columns if column.name in showing]
        if own:
            lines.append(f"{family.name}: {family.doc} ({len(own)})")
            lines += [f"  {column.name:36s} {column.unit:12s} {column.doc}" for column in own]
    lines.append(f"{len(showing)} columns")
    return "\n".join(lines) + "\n"


def render_column(config: FeatureConfig, name: str) -> str:
    """Return what there is to say of the columns of that name, pattern or family, in every table.

    Raises
    ------
    ConfigError
        If there is none.
    """
    entries = []
    for table in TABLES:
        sets = _sets(config, table)
        entries += [
            _entry(table, family, column, sets)
            for family in families(config, table)
            for column in family.columns
            if family.name == name or fnmatchcase(column.name, name)
        ]
    if not entries:
        raise ConfigError(
            f"no feature, family or pattern of features {name!r}: `daedalus features list --feature-set full`"
        )
    return "\n".join(entries)


def _entry(table: Table, family: Family, column: Column, sets: dict[str, frozenset[str]]) -> str:
    params = ", ".join(f"{key} = {value}" for key, value in sorted(family.params.items())) or "none"
    state = ", ".join(field.name for field in family.fields) or "none"
    return (
        f"{column.name}\n"
        f"  table       {table}\n"
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
    return _HEAD + "\n".join(_chapter(FeatureConfig(feature_set="full"), table) for table in TABLES)


def _chapter(config: FeatureConfig, table: Table) -> str:
    sets = _sets(config, table)
    counts = ", ".join(f"`{name}` {len(sets[name])}" for name in FEATURE_SETS)
    parts = [f"## Table {table}\n\n{_ROWS[table][0].upper()}{_ROWS[table][1:]}\n\nColumns: {counts}.\n"]
    for family in families(config, table):
        parts.append(
            f"\n### {family.name}: {family.doc}\n\n| column | type | unit | set | meaning |\n|---|---|---|---|---|\n"
        )
        parts += [
            f"| `{c.name}` | {c.dtype} | {c.unit} | {_smallest(c.name, sets)} | {c.doc.replace('|', chr(92) + '|')} |\n"
            for c in family.columns
        ]
    return "".join(parts)
