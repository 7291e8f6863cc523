"""What was imported or replayed into a lake: one small file for each run, so that a second run adds nothing.

A run's manifest is there before its first segment. Its journals' ids derive from its key, so a run that was cut off is
either done again, into the same files, or undone, by the names of its segments.
"""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
import structlog

import daedalus
from daedalus.ingestion.writers.base import RawPaths
from daedalus.shared.errors import CorruptError
from daedalus.shared.segment import sidecar_path
from daedalus.storage.ledger import Ledger
from daedalus.storage.local import TEMP_SUFFIX, make_dirs, publish, sync_dir

log = structlog.get_logger(__name__)

FOLDER = "imports"


class Input(msgspec.Struct, frozen=True):
    """Something that was read: its name, for people, and what it is (the SHA-256 of a file)."""

    name: str
    identity: str


class Manifest(msgspec.Struct):
    """One run.

    Attributes
    ----------
    key
        What was read, how, and what of it was written: the same for a repetition.
    naming
        What decides where an input's rows go. One that is there under the same naming is not written again.
    settings
        Everything else that the rows depend on.
    version
        Of Daedalus: another one may make other rows.
    sealed
        Parts that are sealed.
    is_finished
        Whether all are.
    rows
        By channel, of a finished run.
    """

    key: str
    naming: dict[str, str]
    settings: dict[str, str]
    inputs: list[Input]
    context: list[Input] = []
    version: str = daedalus.__version__
    sealed: int = 0
    is_finished: bool = False
    rows: dict[str, int] = {}

    @property
    def nonce(self) -> int:
        """The random part of the ids of its journals."""
        return int(self.key[:8], 16)


def new_manifest(
    naming: dict[str, str], settings: dict[str, str], inputs: list[Input], context: list[Input]
) -> Manifest:
    """Return the manifest of a run that has not begun."""
    text = msgspec.json.encode([naming, settings, [i.identity for i in inputs], [i.identity for i in context]])
    return Manifest(hashlib.sha256(text).hexdigest(), naming, settings, inputs, context)


class Manifests:
    """The runs into one source of a lake. Whoever changes them holds the source's lock."""

    def __init__(self, paths: RawPaths) -> None:
        self._paths = paths
        self._folder = paths.base / paths.tier / FOLDER / paths.source

    def all(self) -> Iterator[Manifest]:
        """Yield every run. Raises `CorruptError` for a file that is none of ours."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=Manifest)
            except msgspec.DecodeError as error:
                raise CorruptError(
                    f"{path}: not the manifest of an import ({error}); restore it from a copy"
                ) from error

    def done(self, naming: dict[str, str]) -> set[str]:
        """Return what was read by finished runs of that naming."""
        runs = (run for run in self.all() if run.is_finished and run.naming == naming)
        return {input_.identity for run in runs for input_ in run.inputs}

    def begin(self, wanted: Manifest) -> Manifest:
        """Return the run to go on with: the one that was cut off, or the wanted one, now begun.

        What was cut off and is not the same run, or not of this version, but has inputs in common is undone: its rows
        come again, in other files.
        """
        for run in self.all():
            if run.is_finished:
                continue
            if run.key == wanted.key and run.version == wanted.version:
                return run
            if {i.identity for i in run.inputs} & {i.identity for i in wanted.inputs}:
                log.warning("unfinished_import_undone", inputs=[i.name for i in run.inputs], action="begun again")
                self.undo(run)
        self.save(wanted)
        return wanted

    def save(self, run: Manifest) -> None:
        """Write a run's manifest, durably."""
        make_dirs(self._folder)
        final = self._folder / f"{run.key[:16]}.json"
        temp = final.with_name(final.name + TEMP_SUFFIX)
        temp.write_bytes(msgspec.json.format(msgspec.json.encode(run)))
        publish(temp, final, overwrite=True)

    def undo(self, run: Manifest) -> None:
        """Remove a run that is not finished: its segments, then its manifest."""
        segments = sorted(self._paths.ready.glob(f"**/segment_*Z-{run.nonce:08x}_*"))
        with Ledger(self._paths.base) as ledger:
            for segment in segments:
                key = ledger.key_of(segment)
                if ledger.get(key):
                    ledger.record(key, "deleted")
                sidecar_path(segment).unlink(missing_ok=True)
                segment.unlink(missing_ok=True)
        for folder in {segment.parent for segment in segments}:
            sync_dir(folder)
        (self._folder / f"{run.key[:16]}.json").unlink(missing_ok=True)


def names(inputs: Iterable[Input]) -> str:
    """Return the names of inputs for a message, not too many."""
    every = [input_.name for input_ in inputs]
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")
