"""Trades and tickers hour by hour with a state, and markets in several processes: the same bits."""

import dataclasses
import functools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.report import Progress
from daedalus.etl.core.runners import StatefulOrderbookRunner, ticker_runner, trades_runner
from daedalus.etl.core.workers import run_markets
from daedalus.etl.transforms.base import Market, StatefulTransform
from daedalus.etl.transforms.ticker import TickerFeatureTransform
from daedalus.etl.transforms.trades import TradesFeatureTransform
from daedalus.shared.errors import ConfigError
from tests.unit.etl.core.stateful_lake import CONFIG, silver, write_market

TABLES = {"trades": (trades_runner, TradesFeatureTransform), "ticker": (ticker_runner, TickerFeatureTransform)}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("tables") / "lake"
    for seed, symbol in enumerate(("BTC/USD", "ETH/USD", "SOL/USD")):
        write_market(base, symbol, seed)
    return base


@pytest.mark.parametrize("table", TABLES)
def test_hour_by_hour_with_a_state_equals_one_go_and_the_whole_streams(lake: Path, tmp_path: Path, table: str) -> None:
    make, transform_class = TABLES[table]
    chosen = FilterSpec(symbol="BTC-USD")
    assert make(CONFIG, InputConfig(lake), OutputConfig(tmp_path / "a")).run(chosen).failures == []
    for hour in range(14, 19):
        runner = make(CONFIG, InputConfig(lake), OutputConfig(tmp_path / "b"), state_path=tmp_path / "state")
        report = runner.run(dataclasses.replace(chosen, hour=hour))
        assert (report.failures, report.skipped) == ([], [])
    assert silver(tmp_path / "b") == silver(tmp_path / "a")
    transform = transform_class(CONFIG)
    assert isinstance(transform, StatefulTransform)
    streams = {}
    for spec in transform.inputs:
        paths = sorted((lake / "raw/ready/coinbase" / spec.channel).rglob("symbol=BTC-USD/**/*.parquet"))
        tables = [pq.ParquetFile(path).read(spec.schema.names).cast(spec.schema) for path in paths]
        streams[spec.name] = iter([pa.concat_tables(tables)])
    rows = pa.Table.from_batches([batch for _, batch in transform.run(Market("coinbase", "BTC-USD"), streams)])
    got = pa.concat_tables(
        pq.ParquetFile(p).read(rows.schema.names) for p in sorted((tmp_path / "a").rglob("*.parquet"))
    )
    assert got.replace_schema_metadata(None).equals(rows.replace_schema_metadata(None))


def test_workers_give_the_rows_of_one_process(lake: Path, tmp_path: Path) -> None:
    places = [(CONFIG, InputConfig(lake), OutputConfig(tmp_path / name)) for name in ("one", "many")]
    one = StatefulOrderbookRunner(*places[0]).run(FilterSpec())
    make = functools.partial(StatefulOrderbookRunner, *places[1], state_path=tmp_path / "state")
    seen: list[Progress] = []
    many = run_markets(make, FilterSpec(), 2, on_progress=seen.append)
    assert [str(failure.error) for failure in many.failures] == []
    assert silver(tmp_path / "many") == silver(tmp_path / "one")
    assert (many.rows_in, many.rows_out, many.files_opened) == (one.rows_in, one.rows_out, one.files_opened)
    assert list(many.tallies) == list(one.tallies)
    for market, tally in many.tallies.items():
        assert dataclasses.replace(tally, seconds=0.0) == dataclasses.replace(one.tallies[market], seconds=0.0)
        assert tally.hours > 0 and tally.seconds > 0
    assert [w.rows for w in many.written] == [w.rows for w in one.written]
    assert [(p.begun, p.total) for p in seen] == [(1, 3), (2, 3), (3, 3)]
    again = run_markets(make, FilterSpec(), 2)
    assert again.written == []
    with pytest.raises(ConfigError, match="no symbol XRP-USD"):
        run_markets(make, FilterSpec(symbol="XRP-USD"), 2)


def test_a_worker_that_dies_fails_its_market_alone(lake: Path, tmp_path: Path) -> None:
    make = functools.partial(_Dying, CONFIG, InputConfig(lake), OutputConfig(tmp_path))
    report = run_markets(make, FilterSpec(), 2)
    assert [str(failure.market) for failure in report.failures] == ["coinbase ETH-USD"]
    assert "ended with code 9 in the middle of it" in str(report.failures[0].error)
    assert len(silver(tmp_path)) == 8


class _Dying(StatefulOrderbookRunner):
    """Ends its process at one market."""

    def _run_chain(self, work: object) -> None:
        if work.chain.market.symbol == "ETH-USD":  # type: ignore[attr-defined]
            import os

            os._exit(9)
        super()._run_chain(work)  # type: ignore[arg-type]
