"""`verify`: every segment below a directory, checked by itself, against its neighbours and against the ledger."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from daedalus.lake.segment_check import RESTORE, Finding, SegmentCheck
from daedalus.shared.clock import utc
from daedalus.shared.errors import CorruptError, NotFoundError, SchemaError
from daedalus.shared.segment import SegmentName
from daedalus.storage.ledger import LEDGER_NAME, Ledger
from daedalus.storage.local import file_sha256

UNKNOWN = "if it is good, `daedalus verify --rebuild-ledger` takes it in"
MISSING = "restore it from a copy; if it was meant to go, `daedalus verify --rebuild-ledger` forgets it"
DISK = "see to the disk and its mount, then check again"
DOUBLE = "compare the two and remove the one that holds less: their rows are read twice"
_ENDINGS = (".parquet", ".ndjson", ".ndjson.zst")


class Checked(msgspec.Struct, frozen=True):
    """What the check of one segment came to; `path` is None for findings about segments that are not there."""

    path: str | None
    rows: int
    bytes: int
    findings: list[Finding]


class Report(msgspec.Struct):
    """What all checks came to. `ledger_segments`: how many the ledger that was made anew holds, None if it was not."""

    root: str
    segments: int = 0
    rows: int = 0
    bytes: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)
    ledger_segments: int | None = None

    def add(self, checked: Checked) -> None:
        """Take in what one check came to."""
        self.segments += checked.path is not None
        self.rows += checked.rows
        self.bytes += checked.bytes
        self.findings += checked.findings

    def json(self) -> str:
        """Return all of it as one JSON object, with `ok` for those who want no more."""
        return msgspec.json.encode({"ok": not self.findings, **msgspec.structs.asdict(self)}).decode()

    def summary(self) -> str:
        """Return it in a line."""
        seen = f"{self.segments:,} segments, {self.rows:,} rows, {self.bytes / 1e6:,.1f} MB below {self.root}"
        wrong = len({finding.path for finding in self.findings})
        verdict = f"{len(self.findings):,} things wrong with {wrong:,} of them" if wrong else "nothing is wrong"
        ledger = f"; the ledger was made anew: {self.ledger_segments:,} segments" if self.ledger_segments else ""
        return f"{seen}: {verdict}{ledger}"


class Check(Protocol):
    """A check of many segments, wherever they are."""

    @property
    def root(self) -> object:
        """Return what is checked; as text it is its name."""

    def segments(self) -> Iterator[object]:
        """Yield what will be checked, to count it."""

    def run(self) -> Iterator[Checked]:
        """Check one after the other."""


class LakeCheck:
    """The check of a directory of segments, or of a single one.

    Parameters
    ----------
    root
        The directory or file. The lake's ledger is looked for in it and in the directories above.
    strict
        Whether a segment that the ledger does not know is a finding.
    rebuilding
        Whether the ledger is to be made anew: then what it lacks, and what it has too much, is no finding.

    Raises
    ------
    NotFoundError
        If there is no such file or directory.
    """

    def __init__(self, root: Path, *, strict: bool = False, rebuilding: bool = False) -> None:
        if not root.exists():
            raise NotFoundError(f"there is nothing at {root}: name a lake's directory, one below it, or a segment")
        self.root = root
        self.base = _base_of(root)
        self._strict = strict and not rebuilding
        self._rebuilding = rebuilding

    def segments(self) -> Iterator[Path]:
        """Yield the files to check: of a lake's directory or its raw tier, what is in ``ready``."""
        if self.root.is_file():
            yield self.root
            return
        for folder in sorted([*self.root.glob("ready"), *self.root.glob("*/ready")]) or [self.root]:
            yield from data_files(folder)

    def run(self) -> Iterator[Checked]:
        """Check segment after segment; at last, what the ledger knows and is not there.

        Raises
        ------
        CorruptError, TransientStorageError
            If the ledger cannot be read.
        """
        ledger = self._ledger()
        try:
            neighbours = _Neighbours()
            for path in self.segments():
                yield self._check(path, ledger, neighbours)
            if ledger is not None and not self._rebuilding:
                yield Checked(None, 0, 0, list(self._missing(ledger)))
        finally:
            if ledger is not None:
                ledger.close()

    def _ledger(self) -> Ledger | None:
        try:
            return Ledger.existing(self.base) if self.base else None
        except CorruptError:
            if not self._rebuilding:
                raise
            return None

    def _check(self, path: Path, ledger: Ledger | None, neighbours: "_Neighbours") -> Checked:
        try:
            findings = [*neighbours.findings(path), *self._ledger_findings(path, ledger)]
            rows, own = _parquet_findings(path) if path.suffix == ".parquet" else _ndjson_findings(path)
            return Checked(str(path), rows, path.stat().st_size, findings + own)
        except FileNotFoundError:
            # It went since it was listed. Whether it may have is for the ledger to say.
            return Checked(str(path), 0, 0, [])
        except OSError as error:
            return Checked(str(path), 0, 0, [Finding(str(path), f"it cannot be read: {error.strerror}", DISK)])

    def _ledger_findings(self, path: Path, ledger: Ledger | None) -> Iterator[Finding]:
        entry = ledger.get(ledger.key_of(path)) if ledger else None
        if entry is None:
            if self._strict:
                where = (
                    "it is not in the ledger" if ledger else f"there is no {LEDGER_NAME} in the directories above it"
                )
                yield Finding(str(path), where, UNKNOWN)
        elif (found := file_sha256(path)) != entry.sha256:
            what = f"its SHA-256 is {found[:12]}…, {entry.sha256[:12]}… when it was sealed"
            yield Finding(str(path), what, RESTORE)

    def _missing(self, ledger: Ledger) -> Iterator[Finding]:
        key = ledger.key_of(self.root)
        for entry in ledger.entries("" if key == "." else key):
            inside = key == "." or entry.key == key or entry.key.startswith(f"{key}/")
            if inside and entry.deleted_at is None and not (ledger.base / entry.key).exists():
                what = f"it was sealed {utc(entry.sealed_at):%Y-%m-%d %H:%M} with {entry.rows:,} rows and is not there"
                yield Finding(str(ledger.base / entry.key), what, MISSING)


def data_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a directory that a reader would take for data, whatever they are called, in order."""
    for directory, names, files in os.walk(folder):
        names.sort()
        yield from (Path(directory, f) for f in sorted(files) if is_data_file(f))


def is_data_file(name: str) -> bool:
    """Return whether a reader would take a file of that name for data."""
    return name.endswith(_ENDINGS) and name[0] not in "._"


class _Neighbours:
    """Finds rows of a journal that two segments of a directory hold. Segments come in the order of their names."""

    def __init__(self) -> None:
        self._last: dict[tuple[Path, str, str], tuple[int, str]] = {}
        self._folder: Path | None = None

    def findings(self, path: Path) -> Iterator[Finding]:
        try:
            name = SegmentName.parse(path.name)
        except SchemaError:
            return
        if path.parent != self._folder:
            self._folder, self._last = path.parent, {}
        # Lines and Parquet of the same rows may stand side by side: nobody reads both.
        key = (path.parent, name.journal, path.suffix)
        last, other = self._last.get(key, (-1, ""))
        if name.first_row <= last:
            yield Finding(str(path), f"rows from {name.first_row:,} of its journal are in {other} too", DOUBLE)
        self._last[key] = max((last, other), (name.last_row, path.name))


def _base_of(root: Path) -> Path | None:
    """Return the nearest directory with a ledger, from `root` upwards."""
    start = root.absolute()
    return next((folder for folder in (start, *start.parents) if (folder / LEDGER_NAME).exists()), None)


def _parquet_findings(path: Path) -> tuple[int, list[Finding]]:
    check = SegmentCheck(path)
    findings = list(check.findings())
    if not path.exists():
        raise FileNotFoundError(path)
    return check.rows, findings


def _ndjson_findings(path: Path) -> tuple[int, list[Finding]]:
    """Compare a segment of lines with the file beside it, which says what it was when it was sealed."""
    beside = path.with_name(f"_{path.name}.meta.json")
    sha256 = file_sha256(path)
    try:
        written = json.loads(beside.read_bytes())
        rows, sealed = int(written["footer"]["rows"]), written["sha256"]
    except FileNotFoundError:
        return 0, [Finding(str(path), f"{beside.name} is not beside it", RESTORE)]
    except (ValueError, KeyError, TypeError) as error:
        return 0, [Finding(str(path), f"{beside.name} cannot be read: {error!r}", RESTORE)]
    if sha256 != sealed:
        return rows, [Finding(str(path), f"it is not the file that {beside.name} describes", RESTORE)]
    return rows, []
