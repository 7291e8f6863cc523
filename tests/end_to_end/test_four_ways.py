"""Silver and bars in one go, hour by hour, as segments appear, and on a cluster: the same bits each time."""

import functools
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from daedalus.etl.core.cluster import run_on_dask
from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.report import Report
from daedalus.etl.core.runners import MakeExecutor, StatefulOrderbookRunner, make_runner, ticker_runner, trades_runner
from daedalus.etl.features.registry import families
from daedalus.etl.features.selection import selected
from daedalus.etl.transforms.bars import BarAggregationTransform
from daedalus.storage.base import Storage
from daedalus.storage.clouds import S3Storage
from daedalus.storage.local import LocalStorage
from daedalus.testing.dask_cluster import running
from daedalus.testing.s3_server import S3Server
from tests.unit.etl.core.bronze import HOUR, T0, S, books, gap, trades, write_bronze
from tests.unit.etl.core.fed_lake import READY, Watched, cut_lake, feed
from tests.unit.etl.core.stateful_lake import CONFIG, silver, tickers

MAKERS = {"orderbook": StatefulOrderbookRunner, "trades": trades_runner, "ticker": ticker_runner}


def write_days(base: Path, symbols: tuple[str, ...], hours: int, rows: int) -> None:
    """Write books with holes, trades, tickers and gaps; the days end in the middle of nothing."""
    for seed, symbol in enumerate(symbols):
        for hour in (hour for hour in range(hours) if hour % 7 != 5):
            begin, step = T0 + hour * HOUR, HOUR // rows
            write_bronze(base, "orderbook", books(begin, rows, step, seed=seed + hour), symbol=symbol, journal=hour)
        every = 20 * S
        write_bronze(base, "trades", trades(T0 + 3 * S, hours * HOUR // every, every, seed=seed), symbol=symbol)
        write_bronze(base, "ticker", tickers(T0 + 2 * S, hours * HOUR // every, every), symbol=symbol)
        gaps = [gap(T0 + h * HOUR - 3 * S, T0 + h * HOUR + 6 * S) for h in range(1, hours, 4)]
        write_bronze(base, "gaps", gaps, symbol=symbol)


def makers(source: Path | Storage, target: Path | Storage) -> Iterator[tuple[str, MakeExecutor]]:
    for table, maker in MAKERS.items():
        yield table, functools.partial(maker, CONFIG, InputConfig(source), OutputConfig(target))
    widths = functools.partial(
        BarAggregationTransform, durations=[1, 60, 900, 3600], silver=selected(families(CONFIG), CONFIG)
    )
    places = InputConfig(source, processed_base_dir=target), OutputConfig(target)
    yield "bars", functools.partial(make_runner, widths, *places)


def clean(report: Report) -> None:
    assert [str(failure.error) for failure in report.failures] == [] and report.skipped == []


def in_one_go(lake: Path, out: Path) -> None:
    for _, make in makers(lake, out):
        clean(make().run(FilterSpec()))


def hour_by_hour(lake: Path, out: Path, hours: int) -> None:
    """Run every hour by itself, with a new executor that knows only the state path."""
    for table, make in makers(lake, out):
        if table == "bars":
            clean(make().run(FilterSpec()))
            continue
        chains = make().stretches(FilterSpec())
        for market, stretches in chains:
            for stretch in stretches:
                chosen = FilterSpec(market.exchange, market.symbol, start=stretch.start, end=stretch.end)
                clean(make(state_path=out / "state").run(chosen))


def as_segments_appear(lake: Path, folder: Path, rng: random.Random) -> Path:
    """Cut the lake into small segments and feed them to a watcher in batches of any size; return the watched lake."""
    fed = folder / "fed"
    keys = [key for journal in cut_lake(lake, folder / "pieces") for key in journal]
    watched = Watched(fed, tuple(MAKERS))
    while keys:
        count = rng.randint(1, 40)
        feed(folder / "pieces", fed, keys[:count])
        keys = keys[count:]
        watched.look()
    watched.look()
    assert (watched.failures, watched.skipped) == ([], [])
    clean(dict(makers(fed, fed))["bars"]().run(FilterSpec()))
    return fed


def on_a_cluster(lake: Path, folder: Path, server: S3Server) -> None:
    """Run with two workers over a real store, and bring the result here."""
    store = S3Storage(**server.options(secrets.token_hex(4)))  # type: ignore[arg-type]
    for info in LocalStorage(lake).list(READY):
        store.put_file(info.key, lake / info.key)
    with running(folder / "cluster") as cluster:
        for _, make in makers(store, store):
            clean(run_on_dask(make, FilterSpec(), cluster.address, link_hours=7))
    for info in store.list("processed"):
        store.get_file(info.key, folder / "dask" / info.key)


def all_ways(folder: Path, server: S3Server, symbols: tuple[str, ...], hours: int, rows: int, seed: int) -> None:
    lake = folder / "lake"
    write_days(lake, symbols, hours, rows)
    in_one_go(lake, folder / "once")
    wanted = silver(folder / "once")
    assert {key.split("/")[2] for key in wanted} == {"orderbook", "trades", "ticker", "bars"}
    hour_by_hour(lake, folder / "hourly", hours)
    assert silver(folder / "hourly") == wanted
    assert silver(as_segments_appear(lake, folder, random.Random(seed))) == wanted
    on_a_cluster(lake, folder, server)
    assert silver(folder / "dask") == wanted


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_few_hours(tmp_path: Path, s3_server: S3Server) -> None:
    all_ways(tmp_path, s3_server, ("BTC/USD",), hours=3, rows=60, seed=2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_days_of_several_symbols(tmp_path: Path, s3_server: S3Server) -> None:
    all_ways(tmp_path, s3_server, ("BTC/USD", "ETH/USD", "SOL/USD"), hours=48, rows=300, seed=1)
