"""One run of the ETL benchmark, in a process of its own: ``python -m benchmarks.etl_run TABLE LAKE OUT HOW``.

HOW is a number of processes, or the address of a Dask scheduler. It prints one line of JSON.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

from benchmarks.measure import Cost, memory_kib
from daedalus.etl.core.cluster import run_on_dask
from daedalus.etl.core.config import FeatureConfig, FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.report import Report
from daedalus.etl.core.runners import MakeExecutor, StatefulOrderbookRunner, make_runner
from daedalus.etl.core.workers import run_markets
from daedalus.etl.features.registry import families
from daedalus.etl.features.selection import selected
from daedalus.etl.transforms.bars import BarAggregationTransform
from daedalus.storage.base import Storage

DURATIONS = [1, 5, 30, 60, 300, 900, 3600]


def maker(table: str, lake: Path | Storage, out: Path | Storage) -> MakeExecutor:
    """Return what makes the executor of silver (the standard set) or of bars (all widths)."""
    config = FeatureConfig()
    if table == "orderbook":
        return functools.partial(StatefulOrderbookRunner, config, InputConfig(lake), OutputConfig(out))
    bars = functools.partial(BarAggregationTransform, durations=DURATIONS, silver=selected(families(config), config))
    return functools.partial(make_runner, bars, InputConfig(lake, processed_base_dir=out), OutputConfig(out))


def run(make: MakeExecutor, how: str) -> Report:
    """Run in this process, in several, or on a cluster."""
    if not how.isdigit():
        return run_on_dask(make, FilterSpec(), how)
    return make().run(FilterSpec()) if how == "1" else run_markets(make, FilterSpec(), int(how))


def main(table: str, lake: str, out: str, how: str) -> None:
    """Print what a run cost."""
    make = maker(table, Path(lake), Path(out))
    cost = Cost()
    report = run(make, how)
    if report.failures:
        raise report.failures[0].error
    spent = {"rows_in": report.rows_in, "bytes": sum(w.bytes for w in report.written), "files": report.files_opened}
    print(json.dumps({**spent, **cost.stop(), "peak_mib": memory_kib("VmHWM") / 1024}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:5])
