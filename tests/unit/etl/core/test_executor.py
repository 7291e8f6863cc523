"""The executor over a small lake, with a transform that only counts."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import Progress, Report, TransformExecutor
from daedalus.etl.transforms.base import Input, Layer, Market, Output, Rows, Streams
from daedalus.shared.errors import ConfigError, CorruptError, NotFoundError
from daedalus.shared.schemas import Column
from tests.unit.etl.core.bronze import HOUR, T0, S, books, gap, trades, write_bronze

RECEIVED = pa.schema([("collected_at", pa.int64())])


class Counting:
    """Numbers the rows of a market, so that a carried state shows."""

    name = "counting"
    layer: Layer = "silver"
    channel = "orderbook"
    inputs = (
        Input("orderbook", "bronze", "orderbook", RECEIVED, leads=True),
        Input("trades", "bronze", "trades", RECEIVED),
        Input("gaps", "bronze", "gaps", RECEIVED, with_all=True),
    )
    outputs = (
        Output("", "n.parquet", (Column("at", "int64", "ns", ""), Column("n", "int64", "", "")), "at"),
        Output("copy=1", "n.parquet", (Column("at", "int64", "ns", ""),), "at"),
    )

    def __init__(self, margin: int = 0) -> None:
        self.margin = margin
        self.beside: dict[Market, tuple[int, int]] = {}

    def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
        count = 0
        self.beside[market] = tuple(sum(t.num_rows for t in streams[name]) for name in ("trades", "gaps"))  # type: ignore[assignment]
        for table in streams["orderbook"]:
            at = table["collected_at"].combine_chunks()
            numbers = pa.array(range(count, count + len(at)), pa.int64())
            yield self.outputs[0], pa.record_batch([at, numbers], schema=self.outputs[0].schema)
            yield self.outputs[1], pa.record_batch([at], schema=self.outputs[1].schema)
            count += len(at)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for symbol, hours in (("BTC/USD", (0, 1, 3)), ("ETH/USD", (0, 1))):
        for hour in hours:
            write_bronze(tmp_path, "orderbook", books(T0 + hour * HOUR, 10, S), symbol=symbol)
            write_bronze(tmp_path, "trades", trades(T0 + hour * HOUR, 3), symbol=symbol)
    write_bronze(tmp_path, "gaps", [gap(T0, T0 + S)], symbol="BTC/USD")
    write_bronze(tmp_path, "gaps", [gap(T0, T0 + S, "ALL")], symbol="ALL")
    return tmp_path


def execute(lake: Path, chosen: FilterSpec | None = None, margin: int = 0, **target: object) -> tuple[Report, Counting]:
    transform = Counting(margin)
    output = OutputConfig(lake / "out", **target)  # type: ignore[arg-type]
    return TransformExecutor(transform, InputConfig(lake), output).run(chosen or FilterSpec()), transform


def silver(lake: Path, name: str = "n.parquet") -> dict[str, list[int]]:
    """Return the numbers by symbol and hour."""
    root = lake / "out" / "processed" / "coinbase" / "orderbook" / "silver"
    paths = sorted(path for path in root.rglob(name) if "copy=" not in str(path))
    keys = ["/".join(part for part in path.parts if part.startswith(("symbol=", "hour="))) for path in paths]
    return {key: pq.ParquetFile(path).read(["n"])["n"].to_pylist() for key, path in zip(keys, paths, strict=True)}


def test_hours_are_chained_and_markets_are_apart(lake: Path) -> None:
    report, transform = execute(lake)
    assert {key: (numbers[0], numbers[-1]) for key, numbers in silver(lake).items()} == {
        "symbol=BTC-USD/hour=14": (0, 9),
        "symbol=BTC-USD/hour=15": (10, 19),
        "symbol=BTC-USD/hour=17": (20, 29),
        "symbol=ETH-USD/hour=14": (0, 9),
        "symbol=ETH-USD/hour=15": (10, 19),
    }
    assert transform.beside == {Market("coinbase", "BTC-USD"): (9, 2), Market("coinbase", "ETH-USD"): (6, 1)}
    assert (report.rows_in, report.rows_out, len(report.written)) == (50, 100, 10)
    assert (report.failures, report.notes) == ([], [])


def test_only_the_files_that_are_needed_are_opened(lake: Path) -> None:
    report, _ = execute(lake, FilterSpec(symbol="BTC/USD", hour=15))
    # One segment of the book and one of the trades; the ledger has none for that hour.
    assert report.files_opened == 2
    assert list(silver(lake)) == ["symbol=BTC-USD/hour=15"]


def test_a_range_selects_hours(lake: Path) -> None:
    start = dt.datetime(2025, 6, 19, 15, 30, tzinfo=dt.UTC)
    execute(lake, FilterSpec(start=start))
    assert list(silver(lake)) == ["symbol=BTC-USD/hour=15", "symbol=BTC-USD/hour=17", "symbol=ETH-USD/hour=15"]


def test_a_rerun_replaces_with_equal_rows(lake: Path) -> None:
    execute(lake)
    before = silver(lake)
    report, _ = execute(lake)
    assert silver(lake) == before
    assert len(report.written) == 10


def test_the_margin_is_read_but_not_written(lake: Path) -> None:
    report, _ = execute(lake, FilterSpec(symbol="BTC-USD", hour=15), margin=1)
    assert silver(lake) == {"symbol=BTC-USD/hour=15": list(range(10, 20))}
    assert report.rows_in == 30


def test_several_segments_of_an_hour_are_one_stream(lake: Path) -> None:
    write_bronze(lake, "orderbook", books(T0 + 5 * S, 10, S), symbol="BTC/USD", journal=1)
    execute(lake, FilterSpec(symbol="BTC-USD", hour=14))
    root = lake / "out" / "processed"
    path = next(path for path in root.rglob("n.parquet") if "copy=1" not in str(path))
    times = pq.ParquetFile(path).read(["at"])["at"].to_pylist()
    assert times == sorted([T0 + i * S for i in range(10)] + [T0 + i * S for i in range(5, 15)])


def test_coarse_input_and_coarse_output(tmp_path: Path) -> None:
    daily = ["exchange", "symbol", "date"]
    for hour in (0, 1, 12):
        write_bronze(tmp_path, "orderbook", books(T0 + hour * HOUR, 10, S), partition_by=daily, journal=hour)
    execute(tmp_path)
    assert {key: len(rows) for key, rows in silver(tmp_path).items()} == {
        "symbol=BTC-USD/hour=02": 10,
        "symbol=BTC-USD/hour=14": 10,
        "symbol=BTC-USD/hour=15": 10,
    }
    report, _ = execute(tmp_path, partition_cols=daily, tier_features="daily")
    assert sorted({written.rows for written in report.written}) == [10, 20]


def test_a_part_of_a_coarse_partition_is_refused(lake: Path) -> None:
    with pytest.raises(ConfigError, match="selects a part of exchange=coinbase/symbol=BTC-USD/date=2025-06-19"):
        execute(lake, FilterSpec(hour=14), partition_cols=["exchange", "symbol", "date"])
    report, _ = execute(lake, FilterSpec(day=19), partition_cols=["exchange", "symbol", "date"])
    assert len(report.written) == 4


def test_a_filter_that_matches_nothing_says_what_there_is(lake: Path) -> None:
    with pytest.raises(ConfigError, match=r"no symbol BTC-EUR: did you mean BTC-USD"):
        execute(lake, FilterSpec(symbol="BTC/EUR"))
    with pytest.raises(NotFoundError, match="nothing is recorded"):
        TransformExecutor(Counting(), InputConfig(lake, source="ccxt"), OutputConfig(lake)).run(FilterSpec())


def test_a_corrupt_segment_stops_its_market_only(lake: Path) -> None:
    execute(lake, FilterSpec(symbol="BTC-USD"))
    before = silver(lake)
    (segment,) = (lake / "raw/ready/coinbase/orderbook/exchange=coinbase/symbol=BTC-USD").rglob("hour=15/*.parquet")
    segment.write_bytes(segment.read_bytes()[:-100])
    report, _ = execute(lake)
    (failure,) = report.failures
    assert failure.market == Market("coinbase", "BTC-USD")
    assert isinstance(failure.error, CorruptError)
    assert str(segment) in str(failure.error)
    after = silver(lake)
    assert {key: after[key] for key in before} == before, "what was there stands"
    assert "symbol=ETH-USD/hour=15" in after
    assert not list(lake.rglob("*.tmp"))


def test_an_interruption_leaves_no_half_partition(lake: Path) -> None:
    class Interrupted(Counting):
        def run(self, market: Market, streams: Streams) -> Iterator[Rows]:
            for count, rows in enumerate(super().run(market, streams)):
                if count == 3:
                    raise KeyboardInterrupt
                yield rows

    executor = TransformExecutor(Interrupted(), InputConfig(lake), OutputConfig(lake / "out"))
    with pytest.raises(KeyboardInterrupt):
        executor.run(FilterSpec())
    assert list(silver(lake)) == ["symbol=BTC-USD/hour=14"]
    assert not list(lake.rglob("*.tmp"))


def test_progress_counts_leading_partitions(lake: Path) -> None:
    seen: list[Progress] = []
    TransformExecutor(Counting(), InputConfig(lake), OutputConfig(lake / "out"), on_progress=seen.append).run(
        FilterSpec()
    )
    assert [(p.begun, p.total, p.market.symbol) for p in seen] == [
        (1, 5, "BTC-USD"),
        (2, 5, "BTC-USD"),
        (3, 5, "BTC-USD"),
        (4, 5, "ETH-USD"),
        (5, 5, "ETH-USD"),
    ]


def test_the_plan_tells_what_will_be_written(lake: Path) -> None:
    executor = TransformExecutor(Counting(), InputConfig(lake), OutputConfig(lake / "out"))
    chosen = FilterSpec(hour=15)
    planned = sorted(str(path) for foreseen in executor.forecast(chosen) for path in foreseen.targets)
    assert planned == sorted(str(written.path) for written in executor.run(chosen).written)
