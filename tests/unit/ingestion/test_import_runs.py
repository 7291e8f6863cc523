"""Importing as a run: once and never twice, wherever it is cut off; names, broken files, files imported before."""

import gzip
import json
import random

import polars as pl
import pytest

from daedalus.ingestion.orchestrators import importing, part_writer
from daedalus.ingestion.orchestrators.import_inputs import merged
from daedalus.ingestion.orchestrators.importing import ImportOptions, import_files
from daedalus.ingestion.orchestrators.manifests import Manifests
from daedalus.ingestion.orchestrators.market_names import MarketNames
from daedalus.ingestion.writers.base import RawPaths
from daedalus.ingestion.writers.journal import SealOptions
from daedalus.ingestion.writers.recovery import locked
from daedalus.shared.errors import ConfigError, NotFoundError, StorageError
from daedalus.shared.partitioning import DEFAULT_PARTITION_COLUMNS
from daedalus.testing.lake import read_channel, unfinished

T0 = 1_723_161_254_000_000_000
SECOND = 1_000_000_000
SEAL = SealOptions(tuple(DEFAULT_PARTITION_COLUMNS), 1 << 20, "zstd", 1)
CHANNELS = ("ticker", "trades", "l2", "orderbook", "gaps")
#: So small that a session of a few hundred lines has a dozen parts.
PART_BYTES = 40_000


def trade_line(number, now):
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": number, "p": "100.5", "q": "0.25", "T": 1, "m": True, "M": True}
    return f"{now} " + json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":"))


def depth_line(number, now, rng):
    side = [[str(rng.randrange(1, 99)), str(rng.randrange(3))] for _ in range(4)]
    data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": number, "u": number, "b": side, "a": [["101", "1"]]}
    return f"{now} " + json.dumps({"stream": "btcusdt@depth@100ms", "data": data}, separators=(",", ":"))


def session(count, start=T0, first=1, *, with_book=True, seed=1):
    """Lines of a session: trades, diffs and, after a few, the snapshot."""
    rng, lines = random.Random(seed), []
    for number in range(first, first + count):
        now = start + (number - first) * SECOND // 10
        lines += [trade_line(number, now), depth_line(number, now, rng)]
        if with_book and number == first + 3:
            lines.append(f'{now} {{"lastUpdateId":{number},"bids":[["50","1"]],"asks":[["101","1"]]}}')
    return lines


def write(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def run(base, *files, form="binance-raw", source="s", **options):
    wanted = ImportOptions(form, **{"interval_ms": 0, **options})
    return import_files(files, wanted, RawPaths(base, source), SEAL, part_bytes=PART_BYTES)


def content(base, source="s"):
    """All rows of a lake, and the bytes of its segments."""
    rows = {channel: read_channel(base, channel, source) for channel in CHANNELS}
    return {channel: frame.rows() for channel, frame in rows.items()}


def segments(base):
    return {path: path.read_bytes() for path in base.rglob("*.parquet")}


@pytest.fixture
def recording(tmp_path):
    return write(tmp_path / "a.txt", session(400))


@pytest.fixture
def whole(recording, tmp_path):
    run(tmp_path / "whole", recording)
    return content(tmp_path / "whole")


def test_rows_carry_the_recorded_clock_and_end_with_the_recording(whole):
    assert [row[0] for row in whole["trades"]] == [T0 + n * SECOND // 10 for n in range(400)]
    assert len(whole["orderbook"]) == 397
    last = T0 + 399 * SECOND // 10
    streams = ("trades", "l2", "orderbook")
    assert {(r[4], r[5], r[6], r[7]) for r in whole["gaps"]} == {(c, last, None, "shutdown") for c in streams}


def test_a_second_run_adds_nothing(tmp_path, recording):
    base = tmp_path / "lake"
    first = run(base, recording)
    before = segments(base)
    again = run(base, recording, depth=5)  # with whatever other settings
    assert (again.files, again.rows, again.skipped) == ([], {}, [str(recording)])
    assert segments(base) == before and first.segments == len(before)
    copy = write(tmp_path / "other_name.txt", recording.read_text().splitlines())
    assert run(base, copy).skipped == [str(copy)]
    assert run(base, recording, copy).rows == {}


class Killed(BaseException):
    """Stands for `kill -9`: nothing that the program would do afterwards happens."""


def kill_at(monkeypatch, step):
    """Have the process 'die' at the n-th of everything that reaches the disk."""
    count = iter(range(10**9))
    real = {
        (part_writer.JournalWriter, "append"): part_writer.JournalWriter.append,
        (part_writer.JournalWriter, "close"): part_writer.JournalWriter.close,
        (Manifests, "save"): Manifests.save,
    }

    def dying(call, after):
        def wrapped(*args, **kwargs):
            if after:
                result = call(*args, **kwargs)
            if next(count) == step:
                raise Killed
            return result if after else call(*args, **kwargs)

        return wrapped

    for (owner, name), call in real.items():
        monkeypatch.setattr(owner, name, dying(call, after=step % 2 == 0))
    monkeypatch.setattr(part_writer, "seal", dying(part_writer.seal, after=step % 2 == 0))
    monkeypatch.setattr(part_writer.PartWriter, "abort", lambda self: self._thread.shutdown())


def test_killed_anywhere_and_run_again_it_is_the_same_lake(tmp_path):
    recording = write(tmp_path / "short.txt", session(110))
    run(tmp_path / "whole", recording)
    whole, kills = content(tmp_path / "whole"), 0
    for step in range(1, 200):
        base = tmp_path / f"lake{step}"
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, step)
            try:
                run(base, recording)
            except Killed:
                kills += 1
            else:
                break
        run(base, recording)
        assert content(base) == whole, step
        assert unfinished(base) == []
        assert run(base, recording).rows == {}
    assert kills > 15


def test_killed_again_and_again_it_comes_to_the_same(tmp_path, recording, whole):
    base, rng = tmp_path / "lake", random.Random(7)
    for _ in range(12):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, rng.randrange(1, 12))
            try:
                run(base, recording)
            except Killed:
                continue
            break
    run(base, recording)
    assert content(base) == whole and unfinished(base) == []


@pytest.mark.parametrize("change", ["files", "version", "settings"])
def test_what_was_cut_off_and_is_another_run_is_undone(tmp_path, recording, whole, change, monkeypatch):
    base, more = tmp_path / "lake", write(tmp_path / "b.txt", session(20, T0 + 40 * SECOND, 401, with_book=False))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 20)
        if change == "version":
            patch.setattr(importing, "new_manifest", lambda *a: versioned(*a))
        with pytest.raises(Killed):
            run(base, recording, *([more] if change == "files" else []), depth=3 if change == "settings" else 20)
    assert len(segments(base)) > 3
    run(base, recording)
    assert content(base) == whole and len(list(base.glob("raw/imports/s/*.json"))) == 1


def versioned(*args):
    from daedalus.ingestion.orchestrators.manifests import new_manifest

    run_ = new_manifest(*args)
    run_.version = "0.0.0"
    return run_


def test_a_day_that_comes_later_continues_what_is_there(tmp_path):
    lines = session(400)
    cut = 430  # in mid-session: the second file has no snapshot
    one, two = write(tmp_path / "1.txt", lines[:cut]), write(tmp_path / "2.txt", lines[cut:])
    run(tmp_path / "once", one, two)
    run(tmp_path / "twice", one)
    second = run(tmp_path / "twice", two, one)
    assert (second.files, second.skipped) == ([str(two)], [str(one)])
    once, twice = content(tmp_path / "once"), content(tmp_path / "twice")
    assert {c: once[c] == twice[c] for c in CHANNELS} == {**dict.fromkeys(CHANNELS, True), "gaps": False}
    assert len(twice["gaps"]) == 2 * len(once["gaps"])  # the first recording ended, too
    alone = run(tmp_path / "alone", two)
    assert "orderbook" not in alone.rows and "l2" not in alone.rows
    assert any("no snapshot" in note for note in alone.notes)


def test_a_pause_between_files_is_in_the_ledger(tmp_path):
    one = write(tmp_path / "1.txt", session(50))
    two = write(tmp_path / "2.txt", session(50, T0 + 3600 * SECOND, first=90, with_book=False))
    report = run(tmp_path / "lake", two, one)
    gaps = read_channel(tmp_path / "lake", "gaps", "s")
    pause = gaps.filter((pl.col("reason") == "disconnect") & pl.col("ended_at").is_null())
    assert set(pause["channel"]) == {"trades", "l2", "orderbook"}
    ends = gaps.filter((pl.col("reason") == "disconnect") & pl.col("ended_at").is_not_null())
    assert ends.select("channel", "missed").rows() == [("trades", 39)]  # the books stay open: ids jump there, too
    assert report.rows["trades"] == 100


def test_corrupt_lines_cost_themselves(tmp_path):
    lines = session(300)
    good = run(tmp_path / "good", write(tmp_path / "good.txt", lines))
    bad = {50: "garbage", 120: lines[120][:60], 200: f"{T0 + 9 * SECOND} {{}}x", 310: "17231612540 {}"}
    mixed = [line for n, line in enumerate(lines) for line in ([bad[n], line] if n in bad else [line])]
    path = tmp_path / "bad.txt"
    path.write_bytes(
        "\n".join(mixed).encode() + b"\n\xff\xfe\x00\n" + trade_line(301, T0 + 31 * SECOND).encode() + b"\n"
    )
    report = run(tmp_path / "bad", path)
    assert report.malformed == len(bad) + 1 and not report.problems
    rows = read_channel(tmp_path / "bad", "gaps", "s").filter(pl.col("reason") == "parse_error")
    assert rows["missed"].sum() == len(bad) + 1 and set(rows["channel"]) == {"ALL"}
    assert any("line 51" in detail for detail in rows["detail"])
    assert report.rows["trades"] == good.rows["trades"] + 1 and report.rows["orderbook"] == good.rows["orderbook"]


def test_a_truncated_file_gives_what_it_holds(tmp_path):
    data = gzip.compress("\n".join(session(300)).encode(), compresslevel=1)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(data[: len(data) * 2 // 3])
    whole = tmp_path / "whole.gz"
    whole.write_bytes(gzip.compress(trade_line(1000, T0 + 40 * SECOND).encode()))
    report = run(tmp_path / "lake", cut, whole)
    assert 100 < report.rows["trades"] < 300
    assert len(report.problems) == 1 and "cut.gz" in report.problems[0]
    reasons = read_channel(tmp_path / "lake", "gaps", "s")["reason"].to_list()
    assert reasons.count("parse_error") == 1


def test_files_that_are_of_another_format_or_empty_do_not_stop_the_others(tmp_path, recording, whole):
    empty, other = tmp_path / "empty.txt", tmp_path / "other.gz"
    empty.write_text("")
    other.write_bytes(b"\x1f\x8bnonsense")
    report = run(tmp_path / "lake", empty, other, recording)
    assert content(tmp_path / "lake") == whole
    assert len(report.problems) == 1 and "other.gz" in report.problems[0]
    with pytest.raises(NotFoundError, match="nothing"):
        run(tmp_path / "lake", tmp_path / "nothing.gz")


def test_names_are_the_exchanges_own_or_those_asked_for(tmp_path, recording):
    run(tmp_path / "lake", recording, symbols=("BTCUSDT=BTC/USDT", "ETHUSDT=ETH/USDT"), exchange="mine")
    trades = read_channel(tmp_path / "lake", "trades", "s")
    assert set(trades.select("exchange", "symbol").rows()) == {("mine", "BTC-USDT")}
    report = run(tmp_path / "other", recording, symbols=("BTCUSD=X",))
    assert report.notes == ["no market BTCUSD in the files (did you mean BTCUSDT?)"]


def test_two_markets_under_one_name_are_refused_and_nothing_is_left(tmp_path, recording):
    other = write(tmp_path / "eth.txt", [line.replace("BTCUSDT", "ETHUSDT") for line in session(400, T0 + 40 * SECOND)])
    with pytest.raises(ConfigError, match="BTCUSDT of binance and ETHUSDT of binance"):
        run(tmp_path / "lake", recording, other, symbols=("X",))
    assert segments(tmp_path / "lake") == {} and not list(tmp_path.glob("lake/raw/imports/s/*.json"))
    futures = write(tmp_path / "f.txt", [line.replace(',"M":true', "") for line in session(3, T0 + 99 * SECOND)])
    with pytest.raises(ConfigError, match="--exchange mine"):
        run(tmp_path / "lake", recording, futures, exchange="mine")
    for wrong in (("A", "B"), ("=A",), ("A=",), ("",)):
        with pytest.raises(ConfigError):
            MarketNames(wrong)


def test_a_source_that_somebody_records_into_is_left_alone(tmp_path, recording):
    paths = RawPaths(tmp_path / "lake", "s")
    with locked(paths), pytest.raises(StorageError, match="another recorder"):
        run(tmp_path / "lake", recording)


def test_only_the_channels_asked_for(tmp_path, recording):
    assert set(run(tmp_path / "lake", recording, channels=("trades",)).rows) == {"trades", "gaps"}


def test_inputs_are_merged_by_clock_and_opened_in_time():
    opened = []

    def open_(number):
        opened.append(number)
        return iter([(at, f"{number}:{at}") for at in streams[number]])

    streams = [[5, 6, 9], [1, 2, 3], [2, 7], [100], []]
    starts = [5, 1, 2, 100, 0]
    order = []
    for number, at, item in merged(starts, open_):
        order.append((at, number))
        assert item == f"{number}:{at}" and all(starts[n] <= at for n in opened)
    assert order == sorted(order) and len(order) == 9 and sorted(opened) == [0, 1, 2, 3, 4]
