"""A recorded lake cut into small segments, which are fed into a watched one as a recorder would publish them."""

import shutil
import threading
from pathlib import Path

import pyarrow.parquet as pq

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.executor import TransformExecutor
from daedalus.etl.core.following import Follower, FollowRules
from daedalus.etl.core.report import Report
from daedalus.etl.core.watching import Watcher
from daedalus.etl.transforms.base import Market
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.etl.transforms.ticker import TickerFeatureTransform
from daedalus.etl.transforms.trades import TradesFeatureTransform
from daedalus.etl.utils.state_manager import StateManager
from daedalus.shared.partitioning import PartitionKey
from daedalus.shared.segment import SegmentName
from daedalus.testing.clock import FakeClock
from tests.unit.etl.core.bronze import HOUR, T0, S
from tests.unit.etl.core.stateful_lake import CONFIG, silver, write_market

TRANSFORMS = {
    "orderbook": OrderbookFeatureTransform,
    "trades": TradesFeatureTransform,
    "ticker": TickerFeatureTransform,
}
READY = "raw/ready/coinbase"
PIECES = 3


def write_fed(base: Path, whole: Path, symbols: tuple[str, ...] = ("BTC/USD",)) -> list[list[str]]:
    """Write a lake whose hours are several segments each; return their keys, one list a journal, in order of time."""
    for seed, symbol in enumerate(symbols):
        write_market(whole, symbol, seed)
    journals = cut_lake(whole, base)
    shutil.rmtree(whole)
    return journals


def cut_lake(whole: Path, base: Path) -> list[list[str]]:
    """Write a lake again with its hours cut into several segments; return their keys, one list a journal, by time."""
    journals: dict[tuple[str, int], list[str]] = {}
    for path in sorted((whole / READY).rglob("*.parquet")):
        folder = path.parent.relative_to(whole)
        key = PartitionKey.parse(str(folder))
        table = pq.ParquetFile(path).read()
        at = (table["collected_at"].to_numpy() - int(key.start.timestamp()) * S) * PIECES // HOUR
        for piece in range(PIECES):
            rows = table.filter(at == piece)
            if not rows.num_rows:
                continue
            name = SegmentName(f"{key.start:%Y%m%dT%H}{piece * 20:02d}00Z-{piece:08x}", 0, rows.num_rows - 1)
            to = base / folder / name.file_name()
            to.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, to, row_group_size=1000)
            journals.setdefault((f"{key.start:%d%H}", piece), []).append(str(to.relative_to(base)))
    return [journals[at] for at in sorted(journals)]


def feed(source: Path, lake: Path, keys: list[str]) -> None:
    """Publish segments, each in one step."""
    for key in keys:
        to = lake / key
        to.parent.mkdir(parents=True, exist_ok=True)
        aside = to.with_name(f"{to.name}.tmp")
        shutil.copyfile(source / key, aside)
        aside.rename(to)


def batch(source: Path, out: Path, tables: tuple[str, ...]) -> dict[str, bytes]:
    """Return the rows that one run over all segments gives."""
    for table in tables:
        done = TransformExecutor(TRANSFORMS[table](CONFIG), InputConfig(source), OutputConfig(out)).run(FilterSpec())
        assert done.failures == []
    return silver(out)


class Watched:
    """A watcher of a lake, with all that it told."""

    def __init__(
        self, lake: Path, tables: tuple[str, ...] = ("orderbook",), rules: FollowRules | None = None, keep: int = 24
    ) -> None:
        self.clock = FakeClock(T0)
        self.reports: list[Report] = []
        self.states = StateManager(lake / "state", keep)
        places = InputConfig(lake), OutputConfig(lake)
        followers = [
            Follower(TRANSFORMS[table](CONFIG), *places, self.states, rules or FollowRules(), clock=self.clock)
            for table in tables
        ]
        self._watcher = Watcher(followers, interval_s=2.0, clock=self.clock, stop=threading.Event(), told=self._told)

    def look(self) -> None:
        """Look once, a minute later, so that late segments are looked for too."""
        self.clock.advance(61)
        self._watcher.look()

    @property
    def written(self) -> int:
        return sum(len(report.written) for report in self.reports)

    @property
    def skipped(self) -> list[str]:
        return [text for report in self.reports for text in report.skipped]

    @property
    def notes(self) -> list[str]:
        return [text for report in self.reports for text in report.notes]

    @property
    def failures(self) -> list[str]:
        return [f"{one.market}: {one.error}" for report in self.reports for one in report.failures]

    def _told(self, table: str, market: Market, report: Report) -> None:
        self.reports.append(report)
