"""Settings of the ETL: which transforms run, how their output is laid out, and the parameters of the features."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from daedalus.config.base import Number, Section, Text, WholeNumber, check_ascending, rule
from daedalus.config.ingestion import PARTITION_DEFAULT, PARTITION_DOC, PartitionColumn, check_partition_columns


def _plain(value: float) -> float:
    # Shown as people write it: 5, not 5.0.
    return int(value) if value.is_integer() else value


Seconds = Annotated[WholeNumber, Field(ge=1, le=86_400)]
BasisPoints = Annotated[Number, AfterValidator(_plain), Field(gt=0, le=10_000)]
BucketVolume = Annotated[Number, Field(gt=0, le=1_000_000_000)]
Rate = Annotated[Number, AfterValidator(_plain), Field(ge=0, le=1_000_000)]
LEVELS_MAX = 1000
Levels = Annotated[WholeNumber, Field(ge=1, le=LEVELS_MAX)]
Step = Annotated[Number, Field(gt=0, le=1_000_000_000)]
Notional = Annotated[WholeNumber, Field(ge=1, le=1_000_000_000_000)]
#: Width of the bars that Kyle's lambda is regressed on.
KYLE_BAR_SECONDS = 5


class OrderbookProcessorOptions(Section):
    """Parameters of the order book's features and bars. Changing one changes the meaning of columns."""

    feature_set: Literal["core", "standard", "full"] = Field(
        default="standard",
        description="Which columns: core is what every user expects, full is the whole catalogue;"
        " daedalus features list shows them.",
    )
    include: list[Text] = Field(
        default=[],
        max_length=1000,
        description="Families or columns to add to the set, by name or pattern (hhi_*, grid_returns).",
    )
    exclude: list[Text] = Field(
        default=[], max_length=1000, description="Families or columns to leave out of it, by name or pattern."
    )
    compute_features: bool = Field(
        default=True, description="Compute what one book alone determines (static features)."
    )
    max_levels: WholeNumber = Field(
        default=20, ge=1, le=LEVELS_MAX, description="Levels a side that features look at; deeper ones are ignored."
    )
    level_sets: list[Levels] = Field(
        default=[1, 3, 5, 10, 20],
        min_length=1,
        max_length=50,
        description="Numbers of levels that depth is summed over (depth_bid_n5), ascending; those beyond max_levels are"
        " left out.",
    )
    shape_levels: WholeNumber = Field(
        default=10, ge=1, le=LEVELS_MAX, description="Levels that the shape of a side is worked out from."
    )
    notionals: list[Notional] = Field(
        default=[1_000, 10_000, 100_000, 1_000_000],
        min_length=1,
        max_length=50,
        description="Amounts of quote currency that fill prices and slippage are worked out for, ascending.",
    )
    bands_bps: list[BasisPoints] = Field(
        default=[5, 10, 25, 50, 100],
        min_length=1,
        max_length=50,
        description="Upper edges of the depth bands, basis points from the mid price, ascending.",
    )
    horizons: list[Seconds] = Field(
        default=[1, 5, 15, 30, 60, 300, 900],
        min_length=1,
        max_length=50,
        description="Windows of the rolling features, seconds, ascending.",
    )
    half_lives_s: list[Seconds] = Field(
        default=[1, 10, 60, 600],
        min_length=1,
        max_length=50,
        description="Half-lives of the fading sums and intensities, seconds, ascending.",
    )
    bar_durations: list[Seconds] = Field(
        default=[1, 5, 30, 60, 300, 900, 3600],
        min_length=1,
        max_length=50,
        description="Lengths of the time bars, seconds, ascending.",
    )
    enable_stateful: bool = Field(
        default=True, description="Compute what depends on earlier books (OFI, returns, ...)."
    )
    ofi_levels: WholeNumber = Field(
        default=10, ge=1, le=LEVELS_MAX, description="Levels of the multi-level order flow imbalance; up to max_levels."
    )
    ofi_decay_alpha: Number = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Decay per level of the weighted order flow imbalance: exp(-alpha * level).",
    )
    use_dynamic_spread_regime: bool = Field(
        default=True,
        description="Judge the spread tight or wide against its own recent past; otherwise by tight_spread_threshold.",
    )
    spread_regime_window: WholeNumber = Field(
        default=300, ge=2, le=1_000_000, description="Rows of that recent past, the current one not among them."
    )
    spread_tight_percentile: Number = Field(
        default=0.2,
        ge=0,
        le=1,
        description="A spread up to this quantile of the past is tight; 0.2 is the 20th percentile.",
    )
    spread_wide_percentile: Number = Field(
        default=0.8, ge=0, le=1, description="A spread from this quantile of the past on is wide."
    )
    tight_spread_threshold: Number = Field(
        default=0.0001,
        gt=0,
        le=1,
        description="Without the dynamic regime: tight up to this spread, as a share of the mid price; 0.0001 is 1 bp.",
    )
    wide_spread_threshold: Number = Field(
        default=0.001, gt=0, le=1, description="Wide from this spread on, as a share of the mid price; 0.001 is 10 bps."
    )
    kyle_lambda_window: WholeNumber = Field(
        default=300,
        ge=3 * KYLE_BAR_SECONDS,
        le=86_400,
        description="Seconds that the regression of Kyle's lambda looks back, in bars of 5 s; a multiple of 5.",
    )
    enable_vpin: bool = Field(default=True, description="Compute VPIN, which needs trades.")
    vpin_bucket_volume: BucketVolume | Literal["auto"] = Field(
        default=1.0,
        description="Volume of a VPIN bucket, base units; auto takes a fiftieth of the previous UTC day's volume.",
    )
    vpin_window_buckets: WholeNumber = Field(
        default=50, ge=1, le=100_000, description="Buckets that VPIN averages over."
    )
    hawkes_mu: list[Rate] = Field(
        default=[0, 0],
        min_length=2,
        max_length=2,
        description="Base rates of aggressive buys and sells, 1/s, for hawkes_lambda_*: to be fitted on the past.",
    )
    hawkes_alpha: list[Rate] = Field(
        default=[0, 0, 0, 0],
        min_length=4,
        max_length=4,
        description="What a trade adds to a rate at once, 1/s: to buys by a buy and by a sell, to sells by a buy and by"
        " a sell.",
    )
    hawkes_beta: Number | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="How fast that decays, exp(-beta * seconds); without it hawkes_lambda_* are null.",
    )
    max_state_staleness_seconds: Number = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="A pause longer than this many seconds is a fresh start: nothing is differenced across it.",
    )

    norm_days: WholeNumber = Field(
        default=5, ge=1, le=366, description="UTC days before a row's own that lob_norm_* is scaled by."
    )
    microprice_calibration: Text | None = Field(
        default=None,
        description="File with the table of microprice_stoikov, of one market, as daedalus features"
        " calibrate-microprice writes it; without it that column is null.",
    )
    normalise: list[Text] = Field(
        default=[],
        max_length=1000,
        description="Columns to add: {col}_z_{w}s, {col}_rank_{n} or {col}_ewz_hl{h}s, where col is a column or a"
        " pattern of columns (spread_bps_z_300s, ofi_sum_*_rank_1000).",
    )

    crossed_policy: Literal["flag", "null"] = Field(
        default="flag",
        description="What a crossed or locked book does: flag computes it as it is and marks it, null leaves its row"
        " empty and it out of all that follows.",
    )
    require_full_window: bool = Field(
        default=False, description="Columns over a time window are null until the stream is as old as the window."
    )
    reset_windows_on_gap: bool = Field(
        default=False, description="A reset empties the windows; otherwise they lose their rows by time alone."
    )
    tick_size: Step | None = Field(
        default=None, description="Price step of the market; without it the columns in ticks are null."
    )
    lot_size: Step = Field(default=1.0, description="Size step of the market, for elasticities that count lots.")

    @field_validator("level_sets", "notionals", "bands_bps", "horizons", "half_lives_s", "bar_durations")
    @classmethod
    def _check_order(cls, values: list[float]) -> list[float]:
        check_ascending(values)
        return values

    @field_validator("kyle_lambda_window")
    @classmethod
    def _check_bars(cls, value: int) -> int:
        if value % KYLE_BAR_SECONDS:
            raise rule(f"given {value}; allowed: a multiple of {KYLE_BAR_SECONDS} seconds")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.ofi_levels > self.max_levels:
            raise rule(
                f"ofi_levels ({self.ofi_levels}) must not exceed max_levels ({self.max_levels})",
                "ofi_levels",
                "max_levels",
            )
        if self.spread_tight_percentile >= self.spread_wide_percentile:
            raise rule(
                f"spread_tight_percentile ({self.spread_tight_percentile:g}) must be below"
                f" spread_wide_percentile ({self.spread_wide_percentile:g})",
                "spread_tight_percentile",
                "spread_wide_percentile",
            )
        return self


class BarsChannelConfig(Section):
    """Bars. The lengths of time bars are etl.channels.orderbook.processor_options.bar_durations."""

    enabled: bool = Field(default=True, description="Whether bars are made.")
    event_bars: list[Text] = Field(
        default=[],
        max_length=50,
        description="Bars by trades beside the time bars, such as tick-100, volume-5, dollar-1e6 or volume_run.",
    )
    partition_cols: list[PartitionColumn] = Field(default=PARTITION_DEFAULT, description=PARTITION_DOC)

    _check_partitions = field_validator("partition_cols")(check_partition_columns)


class OrderbookChannelConfig(Section):
    """Order book features."""

    enabled: bool = Field(default=True, description="Whether features of the order book are made.")
    partition_cols: list[PartitionColumn] = Field(default=PARTITION_DEFAULT, description=PARTITION_DOC)
    processor_options: OrderbookProcessorOptions = Field(
        default=OrderbookProcessorOptions(),
        description="Parameters of the features and bars. Changing one changes the meaning of columns.",
    )

    _check_partitions = field_validator("partition_cols")(check_partition_columns)


class TradesChannelConfig(Section):
    """Trade features. Their parameters are etl.channels.orderbook.processor_options."""

    enabled: bool = Field(default=True, description="Whether features of trades are made.")
    partition_cols: list[PartitionColumn] = Field(default=PARTITION_DEFAULT, description=PARTITION_DOC)

    _check_partitions = field_validator("partition_cols")(check_partition_columns)


class TickerChannelConfig(Section):
    """Ticker features. Their parameters are etl.channels.orderbook.processor_options."""

    enabled: bool = Field(default=True, description="Whether features of tickers are made.")
    partition_cols: list[PartitionColumn] = Field(default=PARTITION_DEFAULT, description=PARTITION_DOC)

    _check_partitions = field_validator("partition_cols")(check_partition_columns)


class EtlChannels(Section):
    """One section a transform."""

    orderbook: OrderbookChannelConfig = Field(
        default=OrderbookChannelConfig(), description="Bronze order books to silver features."
    )
    trades: TradesChannelConfig = Field(
        default=TradesChannelConfig(),
        description="Bronze trades to silver. Parameters are the orderbook's processor_options.",
    )
    ticker: TickerChannelConfig = Field(
        default=TickerChannelConfig(),
        description="Bronze tickers to silver. Parameters are the orderbook's processor_options.",
    )
    bars: BarsChannelConfig = Field(
        default=BarsChannelConfig(),
        description="Silver to gold. The lengths of bars are bar_durations in the orderbook's processor_options.",
    )


class WatchConfig(Section):
    """The watcher."""

    interval_seconds: Annotated[Number, AfterValidator(_plain), Field(ge=0.1, le=3600)] = Field(
        default=2, description="Seconds between two looks for new segments on a local disk."
    )
    store_interval_seconds: Annotated[Number, AfterValidator(_plain), Field(ge=1, le=86_400)] = Field(
        default=30,
        description="Seconds between two looks where an object store is read: each is some requests a market.",
    )
    settle_seconds: Annotated[Number, AfterValidator(_plain), Field(ge=0, le=86_400)] = Field(
        default=60,
        description="Seconds without a new segment after which an hour that has passed counts as over, where no later"
        " hour shows it.",
    )
    tables: list[Literal["orderbook", "trades", "ticker"]] = Field(
        default=["orderbook", "trades", "ticker"], max_length=3, description="Tables of silver to keep up to date."
    )
    late: Literal["recompute", "report"] = Field(
        default="recompute",
        description="Segments that come when their hour is over: compute again from the last checkpoint before them, or"
        " report them and leave the rows.",
    )
    checkpoints: Annotated[WholeNumber, Field(ge=1, le=1000)] = Field(
        default=24, description="Checkpoints to keep of each market: how many hours late segments may be computed back."
    )


class EtlConfig(Section):
    """Bronze to silver to gold."""

    channels: EtlChannels = Field(default=EtlChannels(), description="One section a transform.")
    watch: WatchConfig = Field(
        default=WatchConfig(), description="daedalus watch: features computed as segments appear."
    )
