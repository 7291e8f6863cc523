"""What a sync did, or would do."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

Kind = Literal["upload", "replace", "compare", "download", "delete"]
#: Lines of trouble that a report keeps; the rest is counted.
TROUBLES_MAX = 100


@dataclass(frozen=True)
class Move:
    """One file to move.

    Parameters
    ----------
    kind
        `replace` is an upload over an older version that came from here; `compare` is a file that both sides have,
        of which it is not known yet whether it is the same.
    key
        Its key in both stores.
    size
        Bytes.
    sha256
        What its bytes must have; None when only reading them tells.
    modified_at
        Of the local file, ns; 0 when there is none yet.
    before
        SHA-256 of the version that went up from here earlier, which may be replaced; None: nothing may.
    """

    kind: Kind
    key: str
    size: int
    sha256: str | None = None
    modified_at: int = 0
    before: str | None = None


class Tally(msgspec.Struct):
    """Files and bytes of one kind."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count a file."""
        self.files += 1
        self.bytes += size


@dataclass
class SyncReport:
    """What a run came to.

    Attributes
    ----------
    uploaded, replaced, downloaded, deleted
        What was moved and verified; `deleted` are local files.
    adopted
        Files that both sides had already, found to be equal and noted.
    unchanged
        Files that were known to be equal.
    listed_pages
        Pages of the store's listing, of up to 1,000 objects each.
    conflicts
        Keys under which the two sides hold different bytes, and why nothing was done.
    failures
        Keys that could not be moved, and why. Both hold `TROUBLES_MAX` at most; the counts go on.
    is_cut_short
        Whether the run was told to stop before it was done.
    """

    uploaded: Tally = field(default_factory=Tally)
    replaced: Tally = field(default_factory=Tally)
    downloaded: Tally = field(default_factory=Tally)
    deleted: Tally = field(default_factory=Tally)
    adopted: Tally = field(default_factory=Tally)
    unchanged: Tally = field(default_factory=Tally)
    listed_pages: int = 0
    conflicts: list[str] = field(default_factory=list)
    conflict_count: int = 0
    failures: list[str] = field(default_factory=list)
    failure_count: int = 0
    is_cut_short: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether everything that was to be moved was."""
        return not (self.conflict_count or self.failure_count or self.is_cut_short)

    def moved(self, move: Move) -> None:
        """Count a file that was moved."""
        tallies = {
            "upload": self.uploaded,
            "replace": self.replaced,
            "download": self.downloaded,
            "delete": self.deleted,
            "compare": self.adopted,
        }
        tallies[move.kind].add(move.size)

    def conflict(self, text: str) -> None:
        """Note that two sides differ."""
        self.conflict_count += 1
        self.conflicts += [text] * (len(self.conflicts) < TROUBLES_MAX)

    def failure(self, text: str) -> None:
        """Note a file that could not be moved."""
        self.failure_count += 1
        self.failures += [text] * (len(self.failures) < TROUBLES_MAX)
