"""What a user may set about features: a frozen record of plain values, checked when it is made."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from daedalus.etl.features.calibration import MicropriceCalibration
from daedalus.shared.errors import ConfigError

#: Width of the bars that Kyle's lambda is regressed on (feature catalogue, section 8).
KYLE_BAR_SECONDS = 5
#: A template of `normalise`: a column or pattern, then z over seconds, rank among rows, or ewz with a half-life.
NORMALISE = r"(?P<column>.+?)_(?:z_(?P<z>[1-9]\d{0,5})s|rank_(?P<rank>[1-9]\d{0,5})|ewz_hl(?P<ewz>[1-9]\d{0,5})s)"
_WHOLE_LISTS = (
    ("level_sets", "numbers of levels", 10_000),
    ("notionals", "quote units", 1_000_000_000_000),
    ("half_lives_s", "seconds", 604_800),
    ("horizons", "seconds", 604_800),
    ("bar_durations", "seconds", 604_800),
)
FEATURE_SETS: tuple[Literal["core", "standard", "full"], ...] = ("core", "standard", "full")


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """The options of the feature engine: the keys of `processor_options`, with their defaults.

    Parameters
    ----------
    compute_features
        False leaves identity columns and the cleaned prices and sizes.
    max_levels
        Levels kept per side; deeper ones are ignored everywhere (B3).
    level_sets
        The K of the `_n{K}` columns; those beyond `max_levels` are left out.
    shape_levels
        K of the features that describe the shape of a side.
    notionals
        Quote units, whole, that fill prices and slippage are worked out for.
    half_lives_s
        Half-lives of the fading sums, whole seconds.
    bands_bps
        Upper edges of the depth bands, bps from mid, ascending; the first band starts at 0.
    horizons
        Lengths of the time windows, whole seconds.
    bar_durations
        Widths of the time bars, whole seconds; read by the bar transform, not by the engine.
    enable_stateful
        False leaves the families that need nothing but the current row (and identity).
    ofi_levels
        Levels of the multi-level order-flow imbalance; those beyond `max_levels` do not exist.
    ofi_decay_alpha
        Lambda of the weights exp(-lambda m) of `mlofi_decay`.
    use_dynamic_spread_regime
        Whether to compute `spread_regime` and its shares; the fixed-threshold shares are always there.
    spread_regime_window
        Rows strictly before the current one that the percentiles are taken from (W3).
    spread_tight_percentile, spread_wide_percentile
        Quantiles of the reference rows, 0 to 1: at or below the first is tight, at or above the second wide.
    tight_spread_threshold
        Relative spread that counts as tight (0.0001 = 1 bps).
    wide_spread_threshold
        Relative spread that counts as wide.
    kyle_lambda_window
        Seconds that the regression looks back, a multiple of the 5 s bar.
    enable_vpin
        Whether to compute VPIN.
    vpin_bucket_volume
        Volume of one bucket in base units, or "auto": a fiftieth of the previous UTC day's volume.
    vpin_window_buckets
        Buckets that VPIN averages over.
    hawkes_mu, hawkes_alpha, hawkes_beta
        Parameters of `hawkes_lambda_*`, fitted on the past: base rates of buys and sells, 1/s; excitement of buys by
        buys, of buys by sells, of sells by buys and of sells by sells, 1/s; decay, 1/s, without which it is null.
    max_state_staleness_seconds
        A longer silence makes the next row a first row (S1); also the age limit of as-of values (W7).
    crossed_policy
        What a crossed or locked book does (B5): "flag" computes it as it is, "null" leaves it out of everything.
    require_full_window
        Whether columns over a time window are null until the stream is as old as the window (W5).
    reset_windows_on_gap
        Whether a reset empties the windows over rows and trades (S3).
    tick_size
        Price step of the market; None leaves tick features null (B6).
    lot_size
        Size step of the market, for elasticities that count lots.
    norm_days
        UTC days strictly before a row's own that `lob_norm_*` is scaled by.
    microprice_calibration
        Table of `microprice_stoikov`; None leaves it null.
    normalise
        Columns to add: ``{col}_z_{w}s``, ``{col}_rank_{n}`` or ``{col}_ewz_hl{h}s``, where col is a column or a pattern
        of columns.
    feature_set
        "core", "standard" or "full": which columns to compute.
    include, exclude
        Names of families or columns, or patterns for them, to add to the set and then to leave out of it.

    Raises
    ------
    ConfigError
        If a value cannot be used. The message names the key and what it may be.
    """

    compute_features: bool = True
    max_levels: int = 20
    level_sets: tuple[int, ...] = (1, 3, 5, 10, 20)
    shape_levels: int = 10
    notionals: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    half_lives_s: tuple[int, ...] = (1, 10, 60, 600)
    bands_bps: tuple[float, ...] = (5.0, 10.0, 25.0, 50.0, 100.0)
    horizons: tuple[int, ...] = (1, 5, 15, 30, 60, 300, 900)
    bar_durations: tuple[int, ...] = (1, 5, 30, 60, 300, 900, 3600)
    enable_stateful: bool = True
    ofi_levels: int = 10
    ofi_decay_alpha: float = 0.5
    use_dynamic_spread_regime: bool = True
    spread_regime_window: int = 300
    spread_tight_percentile: float = 0.2
    spread_wide_percentile: float = 0.8
    tight_spread_threshold: float = 0.0001
    wide_spread_threshold: float = 0.001
    kyle_lambda_window: int = 300
    enable_vpin: bool = True
    vpin_bucket_volume: float | Literal["auto"] = 1.0
    vpin_window_buckets: int = 50
    hawkes_mu: tuple[float, ...] = (0.0, 0.0)
    hawkes_alpha: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    hawkes_beta: float | None = None
    max_state_staleness_seconds: float = 300.0
    crossed_policy: Literal["flag", "null"] = "flag"
    require_full_window: bool = False
    reset_windows_on_gap: bool = False
    tick_size: float | None = None
    lot_size: float = 1.0
    norm_days: int = 5
    microprice_calibration: MicropriceCalibration | None = None
    normalise: tuple[str, ...] = ()
    feature_set: Literal["core", "standard", "full"] = "standard"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is bool:
                _require(
                    isinstance(getattr(self, field.name), bool), field.name, getattr(self, field.name), "true or false"
                )
        self._set("bands_bps", _ascending_bands(self.bands_bps))
        for name, unit, high in _WHOLE_LISTS:
            self._set(name, _whole_list(name, getattr(self, name), unit, high))
        _require(self.crossed_policy in ("flag", "null"), "crossed_policy", self.crossed_policy, "flag or null")
        _require(self.feature_set in FEATURE_SETS, "feature_set", self.feature_set, " or ".join(FEATURE_SETS))
        self._set("include", _names("include", self.include))
        self._set("exclude", _names("exclude", self.exclude))
        self._set("normalise", _names("normalise", self.normalise))
        for item in self.normalise:
            wanted = "{col}_z_{w}s, {col}_rank_{n} or {col}_ewz_hl{h}s with whole numbers, such as spread_bps_z_300s"
            _require(re.fullmatch(NORMALISE, item) is not None, "normalise", item, wanted)
        self._check_whole_numbers()
        self._check_real_numbers()
        self._check_hawkes()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_whole_numbers(self) -> None:
        bounds = {
            "max_levels": (1, 10_000),
            "ofi_levels": (1, 10_000),
            "shape_levels": (1, 10_000),
            "spread_regime_window": (2, 1_000_000),
            "kyle_lambda_window": (3 * KYLE_BAR_SECONDS, 86_400),
            "vpin_window_buckets": (1, 100_000),
            "norm_days": (1, 366),
        }
        for name, (low, high) in bounds.items():
            value = _whole(name, getattr(self, name), f"a whole number from {low} to {high}")
            _require(low <= value <= high, name, value, f"a whole number from {low} to {high}")
            self._set(name, value)
        multiple = f"a multiple of the bar of {KYLE_BAR_SECONDS} s"
        _require(
            self.kyle_lambda_window % KYLE_BAR_SECONDS == 0, "kyle_lambda_window", self.kyle_lambda_window, multiple
        )

    def _check_real_numbers(self) -> None:
        self._set("ofi_decay_alpha", _real("ofi_decay_alpha", self.ofi_decay_alpha, 0.0))
        for name in ("tight_spread_threshold", "wide_spread_threshold"):
            self._set(name, _real(name, getattr(self, name), 0.0))
        tight = _real("spread_tight_percentile", self.spread_tight_percentile, 0.0)
        wide = _real("spread_wide_percentile", self.spread_wide_percentile, 0.0)
        _require(
            tight < wide <= 1.0, "spread_tight_percentile", tight, f"below spread_wide_percentile ({wide}), both 0 to 1"
        )
        self._set("spread_tight_percentile", tight)
        self._set("spread_wide_percentile", wide)
        if self.vpin_bucket_volume != "auto":
            self._set("vpin_bucket_volume", _positive("vpin_bucket_volume", self.vpin_bucket_volume, ' or "auto"'))
        stale = _positive("max_state_staleness_seconds", self.max_state_staleness_seconds)
        _require(stale <= 1e9, "max_state_staleness_seconds", stale, "at most a billion seconds")
        self._set("max_state_staleness_seconds", stale)
        if self.tick_size is not None:
            self._set("tick_size", _positive("tick_size", self.tick_size, " or nothing"))
        self._set("lot_size", _positive("lot_size", self.lot_size))

    def _check_hawkes(self) -> None:
        for name, count in (("hawkes_mu", 2), ("hawkes_alpha", 4)):
            values = tuple(_real(name, value, 0.0) for value in getattr(self, name))
            _require(len(values) == count, name, values, f"{count} numbers")
            self._set(name, values)
        if self.hawkes_beta is not None:
            self._set("hawkes_beta", _positive("hawkes_beta", self.hawkes_beta))

    @property
    def mlofi_levels(self) -> int:
        """Levels that exist for MLOFI: `ofi_levels`, but no more than `max_levels`."""
        return min(self.ofi_levels, self.max_levels)

    @property
    def staleness_ns(self) -> int:
        """`max_state_staleness_seconds` in whole nanoseconds."""
        return round(self.max_state_staleness_seconds * 1e9)


def _require(good: bool, name: str, value: object, wanted: str) -> None:
    if not good:
        raise ConfigError(f"processor_options.{name} is {value!r}: it must be {wanted}")


def _whole(name: str, value: object, wanted: str) -> int:
    number = (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value == int(value)
    )
    _require(number, name, value, wanted)
    return int(value)  # type: ignore[call-overload, no-any-return]


def _real(name: str, value: object, low: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= low
    _require(number, name, value, f"a number of at least {low:g}")
    return float(value)  # type: ignore[arg-type]


def _positive(name: str, value: object, otherwise: str = "") -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    _require(number, name, value, f"a number above 0{otherwise}")
    return float(value)  # type: ignore[arg-type]


def _items(name: str, values: object) -> list[object]:
    _require(isinstance(values, Iterable) and not isinstance(values, str), name, values, "a list of numbers")
    items: list[object] = list(values)  # type: ignore[call-overload]
    _require(bool(items) and len(set(items)) == len(items), name, items, "a list of different numbers, not empty")
    return items


def _ascending_bands(values: object) -> tuple[float, ...]:
    bands = tuple(_positive("bands_bps", value) for value in _items("bands_bps", values))
    _require(list(bands) == sorted(bands), "bands_bps", bands, "ascending")
    return bands


def _whole_list(name: str, values: object, unit: str, high: int) -> tuple[int, ...]:
    wanted = f"whole {unit} from 1 to {high}"
    numbers = tuple(_whole(name, value, wanted) for value in _items(name, values))
    _require(all(1 <= value <= high for value in numbers), name, numbers, wanted)
    return numbers


def _names(name: str, values: object) -> tuple[str, ...]:
    good = isinstance(values, Iterable) and not isinstance(values, str)
    items = list(values) if good else []  # type: ignore[call-overload]
    _require(good and all(isinstance(item, str) and item for item in items), name, values, "a list of names")
    return tuple(items)
