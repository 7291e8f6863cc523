"""The journal: what was flushed comes back, damage costs only what follows it, nothing comes back wrong."""

import random
from pathlib import Path

import pytest

from daedalus.ingestion.writers.columns import record_batches
from daedalus.ingestion.writers.journal import Head, JournalReader, JournalWriter, SealOptions, journal_id
from daedalus.shared.errors import CorruptError
from daedalus.testing.events import START_NS, seeded_events

HEAD = Head(
    journal=journal_id(START_NS, 1),
    source="testex",
    created_at=START_NS,
    writer_version="0",
    seal=SealOptions(("exchange", "symbol", "year", "month", "day", "hour"), 1 << 20, "zstd", 3),
)


def write_journal(folder: Path, flushes: int = 4, *, ended: bool = False):
    """Return the path, the frames as (channel, table) and the file's size after each flush."""
    writer, frames, sizes = JournalWriter(folder, HEAD), [], []
    sizes.append(writer.bytes_written)
    for number in range(flushes):
        batches = record_batches(seeded_events(12, seed=number))
        writer.append(batches)
        frames += batches
        sizes.append(writer.bytes_written)
    writer.close(ended=ended)
    return writer.path, frames, sizes


def read(path: Path):
    reader = JournalReader(path)
    return reader, list(reader.frames())


def same(got, want):
    return len(got) == len(want) and all(a == b and x.equals(y) for (a, x), (b, y) in zip(got, want, strict=True))


@pytest.mark.parametrize("ended", [True, False])
def test_comes_back_whole(tmp_path, ended):
    path, frames, _ = write_journal(tmp_path, ended=ended)
    reader, got = read(path)
    assert same(got, frames) and reader.damage is None and reader.ended is ended
    assert reader.head.journal == HEAD.journal and reader.head.seal == HEAD.seal


def test_truncation_at_every_byte_of_the_last_flush(tmp_path):
    path, frames, sizes = write_journal(tmp_path, flushes=2)
    data = path.read_bytes()
    first = [f for f in frames if True][: len(record_batches(seeded_events(12, seed=0)))]
    for cut in range(sizes[1], sizes[2]):
        path.write_bytes(data[:cut])
        reader, got = read(path)
        assert len(got) >= len(first) and same(got, frames[: len(got)])
        assert not reader.ended


def test_a_zero_filled_tail_is_not_rows(tmp_path):
    path, frames, sizes = write_journal(tmp_path)
    data = path.read_bytes()
    for cut in (sizes[-2], sizes[-1], sizes[-2] + 10, sizes[-1] - 3):
        path.write_bytes(data[:cut] + bytes(4096))
        reader, got = read(path)
        assert same(got, frames[: len(got)]) and reader.damage


def test_bit_flips_never_come_back_silently(tmp_path):
    path, frames, sizes = write_journal(tmp_path)
    data, rng = path.read_bytes(), random.Random(5)
    for _ in range(500):
        position = rng.randrange(len(data))
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        if position < sizes[0]:
            with pytest.raises(CorruptError, match="first frame"):
                read(path)
            continue
        reader, got = read(path)
        assert same(got, frames[: len(got)]) and len(got) < len(frames)
        assert reader.damage


def test_a_frame_that_stands_twice_is_not_read_twice(tmp_path):
    path, frames, sizes = write_journal(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data + data[sizes[-2] : sizes[-1]])
    reader, got = read(path)
    assert same(got, frames) and "was due" in reader.damage


def test_a_journal_is_never_appended_to(tmp_path):
    write_journal(tmp_path)
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path, HEAD)


def test_a_refused_write_leaves_the_journal_usable(tmp_path, monkeypatch):
    import os

    writer = JournalWriter(tmp_path, HEAD)
    first, second = (record_batches(seeded_events(5, seed=n)) for n in (1, 2))
    writer.append(first)
    real, calls = os.write, []

    def half_then_full(fd, data):
        calls.append(1)
        if len(calls) == 1:
            return real(fd, data[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(OSError, match="No space"):
        writer.append(second)
    monkeypatch.setattr(os, "write", real)
    writer.append(second)
    writer.close()
    reader, got = read(writer.path)
    assert same(got, first + second) and reader.ended
