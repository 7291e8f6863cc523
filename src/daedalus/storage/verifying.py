"""Whether a store holds what was sent: by its listing for many small files at once, else by asking for each.

A listing tells size and ETag, which is the MD5 of what came in one request in every store that does not encrypt with
keys of its own; the SHA-256 of each request was checked by the store when it came. Where the ETag is no MD5, a file is
asked for by itself and its recorded SHA-256 compared.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec

from daedalus.shared.errors import CorruptError
from daedalus.storage.base import ObjectInfo, Storage
from daedalus.storage.copies import Copy
from daedalus.storage.sync_report import Move

#: Larger files are asked for by themselves at once.
SMALL_BYTES = 1 << 20
#: Fewer files than that are asked for by themselves.
LISTED_FROM = 20
#: A listing is given up after so many objects for each file: what is there is mostly something else.
LISTED_PER_FILE = 20


@dataclass(frozen=True)
class Sent:
    """What became of a move.

    Parameters
    ----------
    move
        With `compare`, the move that it turned out to be.
    copy
        Verified, unless there is an `md5`.
    md5
        Of the file that was sent, for which the store was not asked yet; None when it was.
    """

    move: Move
    copy: Copy
    md5: str | None = None

    @property
    def key(self) -> str:
        """Return the key of both."""
        return self.move.key


def file_md5(path: Path) -> str:
    """Return the MD5 of a file as stores give it; it guards against accidents, not against malice."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def held_by_listing(store: Storage, sent: Sequence[Sent]) -> dict[str, Copy]:
    """Return the copies that one listing of their common folder confirms, by key."""
    if len(sent) < LISTED_FROM:
        return {}
    waiting = {one.move.key: one for one in sent}
    folder = os.path.commonpath([key.rpartition("/")[0] for key in waiting]) if len(waiting) else ""
    held: dict[str, Copy] = {}
    for info in islice(store.list(folder), LISTED_PER_FILE * len(sent)):
        one = waiting.pop(info.key, None)
        if one is not None and (info.size, (info.etag or "").strip('"')) == (one.copy.bytes, one.md5):
            held[info.key] = msgspec.structs.replace(one.copy, etag=info.etag)
        if not waiting:
            break
    return held


def asked_for(store: Storage, sent: Sent) -> Sent:
    """Return a copy as the store describes it now.

    Raises
    ------
    CorruptError
        If it holds something else.
    """
    theirs = store.head(sent.move.key)
    held = theirs.sha256 or store.digest(sent.move.key)
    if (theirs.size, held) != (sent.copy.bytes, sent.copy.sha256):
        raise CorruptError(f"{store.url} holds other bytes than were sent: not counted as a copy")
    return Sent(sent.move, copy_of(theirs, held, sent.copy.modified_at))


def copy_of(theirs: ObjectInfo, sha256: str, modified_at: int) -> Copy:
    """Return a local file of that time and what a store says of its copy as one."""
    return Copy(theirs.key, sha256, theirs.size, modified_at, theirs.etag)
