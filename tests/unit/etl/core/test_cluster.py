"""What is said when there is no cluster, and that nobody pays for Dask who does not use it."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from daedalus.cli.etl_run import RunOptions
from daedalus.etl.core import cluster
from daedalus.etl.core.cluster import run_on_dask
from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.runners import StatefulOrderbookRunner
from daedalus.shared.errors import ConfigError
from tests.unit.etl.core.bronze import T0, S, books, write_bronze
from tests.unit.etl.core.stateful_lake import CONFIG


@pytest.fixture
def make(tmp_path: Path) -> "functools.partial[StatefulOrderbookRunner]":
    write_bronze(tmp_path, "orderbook", books(T0, 3, S))
    return functools.partial(StatefulOrderbookRunner, CONFIG, InputConfig(tmp_path), OutputConfig(tmp_path))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", ""])
def test_a_dead_address_is_said_so_soon(
    make: "functools.partial[StatefulOrderbookRunner]", address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.3)
    with pytest.raises(ConfigError, match="no Dask scheduler answers there"):
        run_on_dask(make, FilterSpec(), address)


def test_without_the_extra_it_is_said_how_to_get_it(
    make: "functools.partial[StatefulOrderbookRunner]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'daedalus\[scale\]'"):
        run_on_dask(make, FilterSpec(), "tcp://127.0.0.1:1")


def test_a_filter_that_matches_nothing_is_said_before_any_connection(
    make: "functools.partial[StatefulOrderbookRunner]",
) -> None:
    with pytest.raises(ConfigError, match="no symbol DOGE-USD"):
        run_on_dask(make, FilterSpec(symbol="DOGE-USD"), "tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"engine": "ray"}, "there are local and dask"),
        ({"engine": "dask"}, "needs --scheduler ADDRESS"),
        ({"scheduler": "tcp://a:1"}, "--scheduler is for --engine dask"),
        ({"engine": "dask", "scheduler": "tcp://a:1", "workers": 2}, "--workers is for --engine local"),
        ({"engine": "dask", "scheduler": "tcp://a:1", "limit": 2}, "--limit is for --engine local"),
    ],
)
def test_flags_that_do_not_go_together(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        RunOptions(**options)  # type: ignore[arg-type]


def test_dask_is_not_imported_before_it_is_used() -> None:
    code = "import sys, daedalus.cli.main, daedalus.etl.core.cluster; print({'dask', 'distributed'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
