"""A real cluster and a real store: the same bytes as in one process, whoever dies and whoever gives up."""

import functools
import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client

from daedalus.etl.core.cluster import STATES, run_on_dask
from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.report import Progress, Report
from daedalus.etl.core.runners import StatefulOrderbookRunner, make_runner, trades_runner
from daedalus.etl.features.registry import families
from daedalus.etl.features.selection import selected
from daedalus.etl.transforms.bars import BarAggregationTransform
from daedalus.storage.base import Place
from daedalus.storage.clouds import S3Storage
from daedalus.storage.local import LocalStorage
from daedalus.testing.dask_cluster import Cluster, running
from daedalus.testing.s3_server import S3Server
from tests.end_to_end.test_etl import run
from tests.unit.etl.core.bronze import HOUR, T0, S, books, gap, trades, write_bronze
from tests.unit.etl.core.stateful_lake import CONFIG

SYMBOLS = ("BTC/USD", "ETH/USD")
HOURS = (0, 1, 2, 4, 5, 6)
# Starting a cluster takes its time on a busy machine.
pytestmark = pytest.mark.timeout(400)
#: Those of `CONFIG`.
PARAMETERS = {
    "max_levels": 5,
    "ofi_levels": 3,
    "horizons": [1, 30],
    "vpin_bucket_volume": 0.5,
    "vpin_window_buckets": 5,
}
Make = Callable[..., TransformExecutor]


@dataclass
class Lake:
    """Bronze on this disk and the same in a store, and how it becomes silver and gold."""

    base: Path
    options: dict[str, str]

    @functools.cached_property
    def store(self) -> S3Storage:
        return S3Storage(**self.options)  # type: ignore[arg-type]

    def other_store(self) -> S3Storage:
        """Return a place of its own in the same bucket."""
        return S3Storage(**{**self.options, "prefix": secrets.token_hex(4)})  # type: ignore[arg-type]

    def makers(self, source: Path | S3Storage, target: Path | S3Storage) -> dict[str, Make]:
        places = InputConfig(source), OutputConfig(target)
        silver_of = selected(families(CONFIG), CONFIG)
        bars = functools.partial(BarAggregationTransform, durations=[1, 60, 900], silver=silver_of)
        gold = InputConfig(source, processed_base_dir=target), OutputConfig(target)
        return {
            "orderbook": functools.partial(StatefulOrderbookRunner, CONFIG, *places),
            "trades": functools.partial(trades_runner, CONFIG, *places),
            "bars": functools.partial(make_runner, bars, *gold),
        }


def write_lake(base: Path, symbols: tuple[str, ...] = SYMBOLS, hours: tuple[int, ...] = HOURS) -> None:
    for seed, symbol in enumerate(symbols):
        for hour in hours:
            begin = T0 + hour * HOUR
            rows = books(begin + S, 20, S, seed=seed + hour) + books(begin + HOUR - 20 * S, 30, S, seed=seed)
            write_bronze(base, "orderbook", rows, symbol=symbol, journal=hour)
        write_bronze(base, "trades", trades(T0, 1 + hours[-1] * 360, 10 * S, seed=seed), symbol=symbol)
        write_bronze(base, "gaps", [gap(T0 + HOUR - S, T0 + HOUR + 5 * S)], symbol=symbol)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Lake:
    base = tmp_path_factory.mktemp("dask")
    write_lake(base / "lake")
    lake = Lake(base, s3_server.options(secrets.token_hex(4)))
    with ThreadPoolExecutor(4) as pool:
        keys = [info.key for info in LocalStorage(base / "lake").list()]
        list(pool.map(lambda key: lake.store.put_file(key, base / "lake" / key), keys))
    for make in lake.makers(base / "lake", base / "out").values():
        assert make().run(FilterSpec()).failures == []
    return lake


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def written(store: LocalStorage | S3Storage, table: str) -> dict[str, bytes]:
    """Return the files of a table: equal bytes are equal rows, and made from the same segments."""
    return {info.key: store.get(info.key) for info in store.list(f"processed/coinbase/{table}")}


def wanted(lake: Lake, table: str) -> dict[str, bytes]:
    return written(LocalStorage(lake.base / "out"), table)


def test_through_the_command_line(lake: Lake, cluster: Cluster, s3_server: S3Server, tmp_path: Path) -> None:
    given = {f"storage.etl_storage_input.s3.{name}": value for name, value in lake.options.items() if "key" in name}
    given["storage.etl_storage_input.s3.endpoint_url"] = s3_server.endpoint_url
    given |= {f"etl.channels.orderbook.processor_options.{name}": str(value) for name, value in PARAMETERS.items()}
    options = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
    place = ("--input", f"s3://lake/{lake.options['prefix']}", "--engine", "dask", "--scheduler", cluster.address)
    report = json.loads(run("features", "trades", *place, *options, "--json", cwd=tmp_path).stdout)
    assert (report["failures"], report["skipped"]) == ([], [])
    assert written(lake.store, "trades") == wanted(lake, "trades")
    assert report["rows_out"] == len(SYMBOLS) * (1 + HOURS[-1] * 360)
    assert [(market["hours"], market["rows_in"]) for market in report["markets"]] == [(7, 1 + HOURS[-1] * 360)] * 2
    assert list(lake.store.list(STATES)) == []


def test_a_run_that_is_given_up_goes_on_after_its_committed_hours(lake: Lake, cluster: Cluster) -> None:
    store = lake.other_store()
    make = functools.partial(lake.makers(lake.store, store)["orderbook"], state_path=Place(store, "kept"))

    def give_up(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_dask(make, FilterSpec(), cluster.address, give_up, link_hours=2)
    quiet(cluster)
    there = written(store, "orderbook")
    assert 0 < len(there) < len(wanted(lake, "orderbook"))
    report = run_on_dask(make, FilterSpec(), cluster.address, link_hours=2)
    assert report.failures == [] and len(report.written) == len(wanted(lake, "orderbook")) - len(there)
    assert written(store, "orderbook") == wanted(lake, "orderbook")


def test_a_worker_that_is_killed_costs_the_hour_that_it_was_in(lake: Lake, cluster: Cluster) -> None:
    store = lake.other_store()
    killed_while_at_work(lake, cluster, store, random.Random(1))
    # The worker that is left makes gold of it.
    report = run_on_dask(lake.makers(lake.store, store)["bars"], FilterSpec(), cluster.address)
    assert report.failures == []
    assert written(store, "bars") == wanted(lake, "bars")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_workers_are_killed_at_seeded_states(lake: Lake, tmp_path: Path) -> None:
    caught = 0
    for seed in range(10):
        with running(tmp_path / str(seed)) as cluster:
            caught += killed_while_at_work(lake, cluster, lake.other_store(), random.Random(seed))
    assert caught >= 5


def killed_while_at_work(lake: Lake, cluster: Cluster, store: S3Storage, rng: random.Random) -> bool:
    """Compute silver while a worker is killed; return whether it was at work then."""
    make = lake.makers(lake.store, store)["orderbook"]
    reports: list[Report] = []
    work = threading.Thread(
        target=lambda: reports.append(run_on_dask(make, FilterSpec(), cluster.address, link_hours=4))
    )
    work.start()
    count = rng.randrange(1, len(SYMBOLS) * len(HOURS) // 2)
    while len(list(store.list("processed"))) < count and work.is_alive():
        time.sleep(0.01)
    cluster.kill_worker(0)
    is_at_work = work.is_alive() and len(list(store.list("processed"))) < len(SYMBOLS) * len(HOURS)
    work.join()
    [report] = reports
    assert [str(failure.error) for failure in report.failures] == []
    assert written(store, "orderbook") == wanted(lake, "orderbook")
    assert list(store.list(STATES)) == []
    return is_at_work


def quiet(cluster: Cluster) -> None:
    """Wait until no worker computes anything."""
    with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        while any(client.call_stack().values()):
            time.sleep(0.05)
