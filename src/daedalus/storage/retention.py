"""The disk budget: which segments go first when a disk runs full. Nothing that exists only here goes unasked."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from daedalus.shared.segment import sidecar_path
from daedalus.storage.ledger import Entry, Ledger
from daedalus.storage.local import sync_dir

#: How many segments are removed between two looks at the disk.
BATCH = 32


@dataclass
class Freed:
    """What enforcing the budget came to: keys removed, bytes freed, and bytes still over the budget."""

    removed: list[str] = field(default_factory=list)
    bytes: int = 0
    still_over: int = 0


class Retention:
    """Keeps the sealed segments of a lake within a budget.

    Parameters
    ----------
    base
        The lake's directory.
    max_bytes
        Budget of all sealed segments; None for none.
    min_free_bytes
        Room to leave on the disk; None for none.
    delete_unsynced
        Whether segments without a verified copy elsewhere may go too, after all that have one.
    """

    def __init__(
        self,
        base: Path,
        *,
        max_bytes: int | None = None,
        min_free_bytes: int | None = None,
        delete_unsynced: bool = False,
    ) -> None:
        self._base = base
        self._max_bytes, self._min_free_bytes = max_bytes, min_free_bytes
        self._delete_unsynced = delete_unsynced

    @property
    def is_bounded(self) -> bool:
        """Whether there is a budget at all."""
        return self._max_bytes is not None or self._min_free_bytes is not None

    def enforce(self) -> Freed:
        """Remove the oldest segments until the budget holds, verified copies first.

        Raises
        ------
        StorageError
            If the ledger or a directory cannot be written.
        """
        freed = Freed()
        if not self.is_bounded or not self._base.exists():
            return freed
        with Ledger(self._base) as ledger:
            candidates = self._candidates(ledger)
            while (over := self._over(ledger)) > 0:
                if not self._remove(ledger, candidates, over, freed):
                    freed.still_over = over
                    break
        return freed

    def _over(self, ledger: Ledger) -> int:
        """Return by how many bytes the budget is exceeded."""
        over = 0
        if self._max_bytes is not None:
            over = ledger.live_bytes() - self._max_bytes
        if self._min_free_bytes is not None:
            over = max(over, self._min_free_bytes - shutil.disk_usage(self._base).free)
        return over

    def _candidates(self, ledger: Ledger) -> Iterator[Entry]:
        yield from ledger.oldest(verified=True)
        if self._delete_unsynced:
            yield from ledger.oldest(verified=False)

    def _remove(self, ledger: Ledger, candidates: Iterator[Entry], over: int, freed: Freed) -> bool:
        """Remove up to a batch of segments; return whether there were any."""
        bytes_before = freed.bytes
        for entry, _ in zip(candidates, range(BATCH), strict=False):
            path = self._base / entry.key
            # The ledger first: after a crash in between, nobody misses the file, and the next run removes it.
            ledger.record(entry.key, "deleted")
            with suppress(FileNotFoundError):
                path.unlink()
                sync_dir(path.parent)
            sidecar_path(path).unlink(missing_ok=True)
            freed.removed.append(entry.key)
            freed.bytes += entry.bytes
            if freed.bytes - bytes_before >= over:
                return True
        return freed.bytes > bytes_before
