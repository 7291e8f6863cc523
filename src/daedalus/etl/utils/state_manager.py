"""States that transforms carry from run to run: checkpoints of each (transform, market), on this machine's disk.

Of each a small JSON file is the head; it lists the newest checkpoints, newest first, each with the hash and the name of
the file beside it that holds the bytes. A commit writes the bytes, then the head in one step, then removes what no head
names any more. So at any instant the head names whole checkpoints: a crash leaves the old head or the new one.
"""

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

import daedalus
from daedalus.etl.transforms.base import Market
from daedalus.shared.errors import NotFoundError, StateError
from daedalus.storage.local import LocalStorage, remove_temporaries

FORMAT = 2
KEEP = 3


class Checkpoint(msgspec.Struct, frozen=True):
    """What a state is of.

    Attributes
    ----------
    fingerprint, version
        Of the transform's configuration and code, and of the package that wrote it.
    began, until
        The span of receive time that it has seen, [began, until), UTC.
    rows
        Rows that were written since `began`.
    file, sha256
        Where its bytes are, beside the head, and their hash.
    bytes
        How many.
    reads
        The channels of bronze that it was computed from.
    """

    fingerprint: str
    version: str
    began: dt.datetime
    until: dt.datetime
    rows: int
    file: str
    sha256: str
    bytes: int
    reads: list[str] = []


class Head(msgspec.Struct, frozen=True):
    """The checkpoints of one transform and market, newest first."""

    format: int
    transform: str
    exchange: str
    symbol: str
    checkpoints: list[Checkpoint]

    @property
    def market(self) -> Market:
        """Whose state it is."""
        return Market(self.exchange, self.symbol)


class StateManager:
    """Loads and commits checkpoints.

    Parameters
    ----------
    path
        A file that ends in ``.json``: the state of one transform and market. Otherwise a folder of many:
        ``{transform}/{exchange}/{symbol}.json``.
    keep
        Checkpoints to keep of each; older ones are removed at the next commit.
    """

    def __init__(self, path: Path, keep: int = KEEP) -> None:
        self.path = path
        self._keep = keep

    @property
    def of_one(self) -> bool:
        """Whether the path is that of one state."""
        return self.path.suffix == ".json"

    def place(self, transform: str, market: Market) -> Path:
        """Return the head's path."""
        return self.path if self.of_one else self.path / transform / market.exchange / f"{market.symbol}.json"

    def load(
        self, transform: str, market: Market, fingerprint: str, *, upto: dt.datetime | None = None
    ) -> tuple[Checkpoint, bytes] | None:
        """Return the newest checkpoint and its bytes; None if there is none.

        Parameters
        ----------
        fingerprint
            Of the transform that wants to go on from it.
        upto
            Only a checkpoint that has seen nothing from this time on.

        Raises
        ------
        StateError
            If it is damaged, or of another transform, market, configuration or version. The message says which.
        """
        path = self.place(transform, market)
        head = read_head(path)
        if head is None:
            return None
        if (head.transform, head.market) != (transform, market):
            raise StateError(
                f"{path} is the state of {head.transform} of {head.market}, not of {transform} of {market}: use "
                "another --state-path"
            )
        found = next((one for one in head.checkpoints if upto is None or one.until <= upto), None)
        if found is None:
            return None
        if found.fingerprint != fingerprint:
            raise StateError(_of_another(path, found, fingerprint))
        return found, _checked_bytes(path, found)

    def commit(
        self,
        transform: str,
        market: Market,
        fingerprint: str,
        data: bytes,
        *,
        began: dt.datetime,
        until: dt.datetime,
        rows: int,
        reads: Sequence[str] = (),
    ) -> Checkpoint:
        """Add a checkpoint; what was there stays until it is whole. See `Checkpoint` for what it takes."""
        path = self.place(transform, market)
        digest = hashlib.sha256(data).hexdigest()
        body = f"{path.stem}.{digest[:16]}.bin"
        new = Checkpoint(fingerprint, daedalus.__version__, began, until, rows, body, digest, len(data), list(reads))
        head = read_head(path)
        older = [] if head is None else [one for one in head.checkpoints if one.until < until]
        kept = [new, *older][: self._keep]
        LocalStorage(path.parent).put(body, data, overwrite=True)
        _write_head(path, Head(FORMAT, transform, market.exchange, market.symbol, kept))
        return new

    def rewind(self, transform: str, market: Market, upto: dt.datetime) -> Checkpoint | None:
        """Forget the checkpoints that have seen something from a time on; return the newest that is left.

        None, and nothing is forgotten, when no checkpoint reaches back that far.
        """
        path = self.place(transform, market)
        head = read_head(path)
        kept = [] if head is None else [one for one in head.checkpoints if one.until <= upto]
        if head is None or not kept:
            return None
        _write_head(path, Head(head.format, head.transform, head.exchange, head.symbol, kept))
        return kept[0]

    def heads(self) -> Iterator[tuple[Path, Head]]:
        """Yield all states, sorted by path; other files beside the folders of transforms are passed over.

        Raises
        ------
        StateError
            At a state that is damaged.
        """
        if self.of_one:
            paths = [self.path]
        else:
            paths = [*sorted(self.path.glob("*.json")), *sorted(self.path.glob("*/*/*.json"))]
        for path in paths:
            with contextlib.suppress(*[StateError] if path.parent == self.path else []):
                if (head := read_head(path)) is not None:
                    yield path, head

    def reset(self, transform: str, market: Market) -> bool:
        """Forget a state, even a damaged one; return whether there was one."""
        path = self.place(transform, market)
        there = path.exists()
        LocalStorage(path.parent).delete(path.name)
        if there:
            _sweep(path, set())
        return there


def read_head(path: Path) -> Head | None:
    """Return the head at a path, None if there is none; raises `StateError` if it is damaged or of another format."""
    try:
        data = LocalStorage(path.parent).get(path.name)
    except NotFoundError:
        return None
    try:
        head = msgspec.json.decode(data, type=Head)
    except msgspec.MsgspecError as error:
        raise StateError(
            f"{path} is not a state ({error}): move it away, or start afresh with --reset-state"
        ) from error
    if head.format != FORMAT:
        raise StateError(f"{path} has format {head.format}, this version reads {FORMAT}: use --reset-state")
    return head


def _write_head(path: Path, head: Head) -> None:
    text = msgspec.json.format(msgspec.json.encode(head))
    LocalStorage(path.parent).put(path.name, text + b"\n", overwrite=True)
    _sweep(path, {one.file for one in head.checkpoints})


def _of_another(path: Path, found: Checkpoint, fingerprint: str) -> str:
    what = "another configuration"
    if found.version != daedalus.__version__:
        what = f"another version (Daedalus {found.version}, this is {daedalus.__version__}) or configuration"
    return (
        f"{path} is the state of {what} (fingerprint {found.fingerprint[:12]}, now {fingerprint[:12]}): use the "
        "settings that it was written with, another --state-path, or start afresh with --reset-state"
    )


def _checked_bytes(path: Path, found: Checkpoint) -> bytes:
    try:
        data = LocalStorage(path.parent).get(Path(found.file).name)
    except NotFoundError:
        raise StateError(f"{path} names {found.file}, which is missing: restore it, or use --reset-state") from None
    if hashlib.sha256(data).hexdigest() != found.sha256:
        raise StateError(f"{path.parent / found.file} is damaged (its checksum disagrees): use --reset-state")
    return data


def _sweep(path: Path, kept: set[str]) -> None:
    """Remove the bytes of checkpoints that no head names, and what a crash left unfinished."""
    for old in path.parent.glob(f"{path.stem}.{'[0-9a-f]' * 16}.bin"):
        if old.name not in kept:
            with contextlib.suppress(FileNotFoundError):
                old.unlink()
    remove_temporaries(path.parent, f"{path.stem}.")
