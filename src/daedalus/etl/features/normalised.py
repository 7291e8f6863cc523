"""Any column against its own past (feature catalogue, section 13.4), chosen by `normalise`.

`{col}_z_{w}s` stands against mean and deviation of the rows of the last w seconds strictly before the current one,
`{col}_rank_{n}` is the share of the values among the n rows strictly before that are not above it, and
`{col}_ewz_hl{h}s` stands against mean and deviation of all rows before, each weighing 2^(-age / h).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from daedalus.etl.features.base import F64, FLOAT, I64, INT, NULL_INT, NULL_INT8, Arrays, Block, Family, Field, Frame
from daedalus.etl.features.config import NORMALISE, FeatureConfig
from daedalus.etl.features.jit import kernel
from daedalus.etl.features.moments import Moment, Z, moment_columns, moment_fields, moment_runner
from daedalus.etl.features.pairs import NOTHING
from daedalus.etl.features.selection import ALWAYS
from daedalus.etl.features.streaming import SUMMABLE_MAX, ratio, replace_ordered
from daedalus.shared.errors import ConfigError
from daedalus.shared.schemas import Column

_Declare = Callable[[int, Sequence[str], FeatureConfig], Family]


def normalised(config: FeatureConfig, others: Sequence[Family]) -> tuple[Family, ...]:
    """Declare one family for each window, number of rows and half-life that `normalise` names.

    Parameters
    ----------
    others
        The families of a table, whose columns may be normalised. A template may name what only another table has.

    Raises
    ------
    ConfigError
        If a template makes a name that is taken.
    """
    dtypes = {column.name: column.dtype for family in others for column in family.columns}
    groups: dict[tuple[str, int], dict[str, None]] = {}
    for template in config.normalise:
        pattern, kind, length = _parsed(template)
        groups.setdefault((kind, length), {}).update(dict.fromkeys(_matching(pattern, dtypes)))
    families = tuple(_DECLARE[kind](length, tuple(names), config) for (kind, length), names in groups.items() if names)
    _refuse_taken(dtypes, (column.name for family in families for column in family.columns))
    return families


def check_templates(config: FeatureConfig, anywhere: Sequence[Family]) -> None:
    """Raise ConfigError if `normalise` names a column that no table has."""
    names = [column.name for family in anywhere for column in family.columns]
    for template in config.normalise:
        pattern = _parsed(template)[0]
        if not _matching(pattern, names):
            raise ConfigError(
                f"processor_options.normalise has {template!r}, and {pattern!r} is no column nor a pattern of "
                "columns: `daedalus features list --feature-set full`"
            )


def _parsed(template: str) -> tuple[str, str, int]:
    """Return the pattern of columns, the kind and its length; the configuration has checked the template."""
    match = re.fullmatch(NORMALISE, template)
    assert match is not None
    kind = next(kind for kind in _DECLARE if match[kind] is not None)
    return match["column"], kind, int(match[kind])


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name not in ALWAYS and fnmatchcase(name, pattern)]


def _refuse_taken(dtypes: Mapping[str, str], made: Iterable[str]) -> None:
    taken = sorted(set(made) & set(dtypes))
    if taken:
        raise ConfigError(f"processor_options.normalise would make {taken[0]!r}, which is a feature of its own already")


def _series(names: Sequence[str]) -> Callable[[Frame], F64]:
    """Return what makes the columns one matrix, [names, rows], null as NaN."""

    def made(frame: Frame) -> F64:
        return np.stack([_floats(frame, name) for name in names])

    return made


def _floats(frame: Frame, name: str) -> F64:
    values = frame.outputs[name]
    if values.dtype == FLOAT:
        return values
    missing = NULL_INT if values.dtype == INT else NULL_INT8
    return np.where(values == missing, math.nan, values.astype(np.float64))


def _z(window: int, names: Sequence[str], config: FeatureConfig) -> Family:
    moments = [
        Moment(f"{c}_z_", "", f"{c} against mean and deviation of the rows before", k, Z) for k, c in _over(names)
    ]
    fields = moment_fields(moments, 1, len(names))
    name, windows = f"z_{window}s", (window,)
    run = moment_runner(name, moments, windows, config.staleness_ns, fields, _series(names))
    columns = moment_columns(moments, windows)
    return Family(name, 1, "columns against their window", columns, run, tuple(names), fields, core=("*",))


def _over(names: Sequence[str]) -> list[tuple[int, str]]:
    return list(enumerate(names))


def _rank(count: int, names: Sequence[str], config: FeatureConfig) -> Family:
    fields = (
        Field("recent", FLOAT, (len(names), count)),
        Field("ordered", FLOAT, (len(names), count)),
        Field("known", INT, (len(names),)),
        Field("rows", INT, (1,)),
    )
    made = _series(names)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        _ranks(made(frame), *(state[field.name] for field in fields), out.f64)

    doc = f"share of its values in the {count} rows before that are not above"
    columns = tuple(Column(f"{c}_rank_{count}", "float64", "", f"{c}: {doc}") for c in names)
    return Family(f"rank_{count}", 1, "rank of columns", columns, run, tuple(names), fields, core=("*",))


def _ewz(half_life: int, names: Sequence[str], config: FeatureConfig) -> Family:
    # By column: weight, mean, squared deviations, weights of pairs; values and the time of the last.
    fields = (Field("sums", FLOAT, (len(names), 4)), Field("seen", INT, (len(names), 2)))
    made = _series(names)

    def run(frame: Frame, state: Arrays, out: Block) -> None:
        _fading_scores(frame.ts, made(frame), float(half_life), state["sums"], state["seen"], out.f64)

    doc = f"against fading mean and deviation of the rows before, half-life {half_life} s"
    columns = tuple(Column(f"{c}_ewz_hl{half_life}s", "float64", "", f"{c} {doc}") for c in names)
    name = f"ewz_hl{half_life}s"
    return Family(name, 1, "columns against their fading past", columns, run, tuple(names), fields, core=("*",))


_DECLARE: Mapping[str, _Declare] = {"z": _z, "rank": _rank, "ewz": _ewz}


@kernel
def _ranks(values: F64, recent: F64, ordered: F64, known: I64, rows: I64, out: F64) -> None:
    """`recent` is a ring of the rows before (NaN for null), `ordered` the values among them, ascending."""
    size = recent.shape[1]
    for i in range(values.shape[1]):
        slot = rows[0] % size
        for c in range(len(values)):
            x = values[c, i]
            below = np.searchsorted(ordered[c, : known[c]], x, "right")
            out[c, i] = math.nan if math.isnan(x) else ratio(float(below), float(known[c]))
            gone = recent[c, slot] if rows[0] >= size else math.nan
            known[c] = replace_ordered(ordered[c], known[c], gone, x)
            recent[c, slot] = x
        rows[0] += 1


@kernel
def _fading_scores(ts: I64, values: F64, half_life: float, sums: F64, seen: I64, out: F64) -> None:
    for i in range(len(ts)):
        for c in range(len(values)):
            x = values[c, i]
            out[c, i] = math.nan
            if not abs(x) <= SUMMABLE_MAX:
                continue
            weight, mean, squares, pairs = sums[c]
            if seen[c, 0] > 0:
                fade = 2.0 ** (-(ts[i] - seen[c, 1]) / 1e9 / half_life)
                weight, squares, pairs = weight * fade, squares * fade, pairs * fade * fade
            if seen[c, 0] > 1 and squares > NOTHING * weight * mean * mean:
                # Unbiased (N3) for weights: squares * weight / (weight^2 - sum of squared weights).
                out[c, i] = ratio(x - mean, math.sqrt(squares * weight / pairs))
            off = x - mean
            squares += off * off * (weight / (weight + 1.0))
            mean += off / (weight + 1.0)
            pairs += 2.0 * weight
            sums[c, 0], sums[c, 1], sums[c, 2], sums[c, 3] = weight + 1.0, mean, squares, pairs
            seen[c, 0] += 1
            seen[c, 1] = ts[i]
