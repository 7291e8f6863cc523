"""Hour by hour with a state is the same as all at once, to the bit; what cannot be is refused with the reason."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from daedalus.etl.core.config import FilterSpec, InputConfig, OutputConfig
from daedalus.etl.core.manifest import inputs_of
from daedalus.etl.core.runners import StatefulOrderbookRunner
from daedalus.etl.transforms.base import Market
from daedalus.etl.transforms.orderbook import OrderbookFeatureTransform
from daedalus.shared.errors import ConfigError, StateError
from daedalus.storage.local import file_sha256, local_place
from tests.unit.etl.core.bronze import T0, S, books, write_bronze
from tests.unit.etl.core.stateful_lake import CONFIG, HOURS, run, silver, write_market

BTC = Market("coinbase", "BTC-USD")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("stateful") / "lake"
    for seed, symbol in enumerate(("BTC/USD", "ETH/USD")):
        write_market(base, symbol, seed)
    return base


@pytest.fixture(scope="module")
def whole(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole")
    report = run(lake, out)
    assert (report.failures, report.skipped) == ([], [])
    return silver(out)


def test_one_go_is_what_the_transform_says_of_the_whole_streams(lake: Path, tmp_path: Path) -> None:
    run(lake, tmp_path, chosen=FilterSpec(symbol="BTC-USD"))
    transform = OrderbookFeatureTransform(CONFIG)
    streams = {}
    for spec in transform.inputs:
        paths = sorted((lake / "raw/ready/coinbase" / spec.channel).rglob("symbol=BTC-USD/**/*.parquet"))
        if spec.with_all:
            paths += sorted((lake / "raw/ready/coinbase" / spec.channel).rglob("symbol=ALL/**/*.parquet"))
        tables = [pq.ParquetFile(path).read(spec.schema.names).cast(spec.schema) for path in paths]
        streams[spec.name] = iter([pa.concat_tables(tables)])
    rows = pa.Table.from_batches([batch for _, batch in transform.run(BTC, streams)])
    got = pa.concat_tables(pq.ParquetFile(p).read(rows.schema.names) for p in sorted(tmp_path.rglob("*.parquet")))
    assert got.replace_schema_metadata(None).equals(rows.replace_schema_metadata(None))
    resets = got.filter(pa.compute.equal(got["is_reset"], 1))
    # The first row, five gaps that a row follows, and the pause of a missing hour.
    assert resets.num_rows >= 7


def test_hour_by_hour_with_a_state_equals_one_go(lake: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    state = tmp_path / "state"
    for number in HOURS:
        report = run(lake, tmp_path / "out", state, FilterSpec(hour=14 + number))
        assert (report.failures, report.skipped) == ([], [])
        gaps = [note for note in report.notes if "a gap" in note]
        assert len(gaps) == (2 if number == 3 else 0)
    assert gaps == [] and silver(tmp_path / "out") == whole


def test_a_missing_hour_is_noted(lake: Path, tmp_path: Path) -> None:
    report = run(lake, tmp_path, chosen=FilterSpec(symbol="BTC-USD"))
    assert report.notes == ["coinbase BTC-USD: nothing is recorded from 2025-06-19T16 to 2025-06-19T17: a gap"]


@pytest.mark.parametrize("crash_at", range(14))
def test_a_run_that_crashed_anywhere_is_repeated_into_equal_rows(
    lake: Path, tmp_path: Path, whole: dict[str, bytes], crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename of a file is an instant at which the process may end: right before it."""
    count = 0
    rename = Path.replace

    def crash(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == crash_at + 1:
            raise KeyboardInterrupt
        return rename(self, target)

    chosen = FilterSpec(symbol="BTC-USD")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        if crash_at < 12:  # four hours: rows, bytes of the state, its head
            with pytest.raises(KeyboardInterrupt):
                run(lake, tmp_path / "out", tmp_path / "s.json", chosen)
        else:
            run(lake, tmp_path / "out", tmp_path / "s.json", chosen)
    report = run(lake, tmp_path / "out", tmp_path / "s.json", chosen)
    assert (report.failures, report.skipped) == ([], [])
    assert silver(tmp_path / "out") == {key: rows for key, rows in whole.items() if "BTC" in key}
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_is_done_is_not_done_again(lake: Path, tmp_path: Path) -> None:
    chosen = FilterSpec(symbol="BTC-USD")
    run(lake, tmp_path, tmp_path / "s.json", chosen)
    report = run(lake, tmp_path, tmp_path / "s.json", chosen)
    assert (report.files_opened, report.written, report.skipped) == (0, [], [])
    assert report.notes == ["coinbase BTC-USD: the state stands at 2025-06-19T19; 4 done before"]


def test_going_back_in_time_is_refused(lake: Path, tmp_path: Path) -> None:
    run(lake, tmp_path, tmp_path / "s.json", FilterSpec("coinbase", "BTC-USD", hour=15))
    report = run(lake, tmp_path, tmp_path / "s.json", FilterSpec("coinbase", "BTC-USD", hour=14))
    assert "2025-06-19T14: the state begins only at 2025-06-19T15, and a state cannot go back" in str(
        report.failures[0].error
    )
    next(tmp_path.rglob("hour=15/features.parquet")).unlink()
    report = run(lake, tmp_path, tmp_path / "s.json", FilterSpec("coinbase", "BTC-USD", hour=15))
    assert "has gone on without it to 2025-06-19T16" in str(report.failures[0].error)
    assert isinstance(report.failures[0].error, StateError)
    report = run(lake, tmp_path, tmp_path / "s.json", FilterSpec("coinbase", "BTC-USD", hour=14), reset_states=True)
    assert report.failures == []


def test_inputs_that_changed_since_are_skipped_and_said_so(tmp_path: Path) -> None:
    write_bronze(tmp_path, "orderbook", books(T0, 20, S))
    run(tmp_path, tmp_path / "out", tmp_path / "s.json")
    write_bronze(tmp_path, "orderbook", books(T0 + 30 * S, 20, S), journal=1)
    report = run(tmp_path, tmp_path / "out", tmp_path / "s.json")
    assert len(report.skipped) == 1
    assert "2025-06-19T14: its inputs have changed since it was computed (1 files then, 2 now)" in report.skipped[0]


def test_a_state_of_other_settings_or_of_another_market_is_refused(lake: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    run(lake, tmp_path, path, FilterSpec(symbol="BTC-USD", hour=14))
    report = run(lake, tmp_path, path, FilterSpec(symbol="ETH-USD"))
    assert "is the state of orderbook of coinbase BTC-USD, not of orderbook of coinbase ETH-USD" in str(
        report.failures[0].error
    )
    with pytest.raises(ConfigError, match="the state of one market, the filter selects 2"):
        run(lake, tmp_path, path)
    other = StatefulOrderbookRunner(
        type(CONFIG)(max_levels=5), InputConfig(lake), OutputConfig(tmp_path), state_path=path
    )
    report = other.run(FilterSpec(symbol="BTC-USD", hour=15))
    assert "the state of another configuration" in str(report.failures[0].error)
    with pytest.raises(ConfigError, match="not with --state-path"):
        other.run(FilterSpec(symbol="BTC-USD", hour=15), limit=5)


def test_the_footer_says_what_rows_were_made_from(lake: Path, tmp_path: Path) -> None:
    run(lake, tmp_path, chosen=FilterSpec(symbol="BTC-USD", hour=14))
    made_from = inputs_of(local_place(next(tmp_path.rglob("*.parquet"))))
    assert made_from is not None
    assert {one.key.split("/")[3] for one in made_from} == {"orderbook", "trades", "gaps"}
    for one in made_from:
        path = lake / one.key
        assert (one.size, one.sha256) == (path.stat().st_size, file_sha256(path))


def test_a_forecast_is_what_is_read_and_written(lake: Path, tmp_path: Path) -> None:
    state = tmp_path / "s.json"
    run(lake, tmp_path, state, FilterSpec(symbol="BTC-USD", hour=14))
    runner = StatefulOrderbookRunner(CONFIG, InputConfig(lake), OutputConfig(tmp_path), state_path=state)
    [foreseen] = runner.forecast(FilterSpec(symbol="BTC-USD"))
    before = state.read_bytes()
    assert foreseen.state is not None and foreseen.state.local_path == state
    report = runner.run(FilterSpec(symbol="BTC-USD"))
    assert before != state.read_bytes()
    assert [str(w.path) for w in report.written] == [str(path) for path in foreseen.targets]
    assert report.files_opened == sum(len(p.segments()) for ps in foreseen.inputs.values() for p in ps)
    assert foreseen.notes == report.notes


def test_modes_append_and_error(lake: Path, tmp_path: Path) -> None:
    chosen = FilterSpec(symbol="BTC-USD", hour=14)
    run(lake, tmp_path, chosen=chosen)
    with pytest.raises(ConfigError, match=r"features.parquet is there already, and --mode error replaces nothing"):
        run(lake, tmp_path, chosen=chosen, mode="error")
    folder = next(tmp_path.rglob("*.parquet")).parent
    for _ in range(2):  # the second replaces its own
        run(lake, tmp_path, chosen=chosen, mode="append")
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2 and names[0].startswith("features-17503") and names[1] == "features.parquet"
    run(lake, tmp_path, chosen=chosen)
    assert [path.name for path in folder.iterdir()] == ["features.parquet"]
    with pytest.raises(ConfigError, match="output mode 'replace' is unknown: overwrite_partition, append, error"):
        run(lake, tmp_path, mode="replace")
