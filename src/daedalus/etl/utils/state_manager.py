"""States that transforms carry from run to run: checkpoints of each (transform, market), on a disk or in a store.

Of each a small JSON file is the head; it lists the newest checkpoints, newest first, each with the hash and the name of
the file beside it that holds the bytes. A commit writes the bytes, then the head in one step, then removes what no head
names any more. So at any instant the head names whole checkpoints: a crash leaves the old head or the new one.
"""

import contextlib
import datetime as dt
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

import daedalus
from daedalus.etl.transforms.base import Market
from daedalus.shared.errors import NotFoundError, StateError
from daedalus.storage.base import Place
from daedalus.storage.local import LocalStorage, local_place, remove_temporaries

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
    place
        A file that ends in ``.json``: the state of one transform and market. Otherwise a folder of many:
        ``{transform}/{exchange}/{symbol}.json``.
    keep
        Checkpoints to keep of each; older ones are removed at the next commit.
    """

    def __init__(self, place: Path | Place, keep: int = KEEP) -> None:
        if isinstance(place, Path):
            place = local_place(place) if place.suffix == ".json" else Place(LocalStorage(place))
        self.root = place
        self._keep = keep

    @property
    def of_one(self) -> bool:
        """Whether the place is that of one state."""
        return self.root.key.endswith(".json")

    def place(self, transform: str, market: Market) -> Place:
        """Return the head's place."""
        return self.root if self.of_one else self.root / transform / market.exchange / f"{market.symbol}.json"

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
        place = self.place(transform, market)
        head = read_head(place)
        if head is None:
            return None
        if (head.transform, head.market) != (transform, market):
            raise StateError(
                f"{place} is the state of {head.transform} of {head.market}, not of {transform} of {market}: use "
                "another --state-path"
            )
        found = next((one for one in head.checkpoints if upto is None or one.until <= upto), None)
        if found is None:
            return None
        if found.fingerprint != fingerprint:
            raise StateError(_of_another(place, found, fingerprint))
        return found, _checked_bytes(place, found)

    def newest(self, transform: str, market: Market) -> Checkpoint | None:
        """Return the newest checkpoint, whatever it is of; None if there is none."""
        head = read_head(self.place(transform, market))
        return None if head is None else head.checkpoints[0]

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
        place = self.place(transform, market)
        digest = hashlib.sha256(data).hexdigest()
        body = f"{_stem(place)}.{digest[:16]}.bin"
        new = Checkpoint(fingerprint, daedalus.__version__, began, until, rows, body, digest, len(data), list(reads))
        head = read_head(place)
        older = [] if head is None else [one for one in head.checkpoints if one.until < until]
        kept = [new, *older][: self._keep]
        place.storage.put((place.parent / body).key, data, overwrite=True)
        _write_head(place, Head(FORMAT, transform, market.exchange, market.symbol, kept), head)
        return new

    def rewind(self, transform: str, market: Market, upto: dt.datetime) -> Checkpoint | None:
        """Forget the checkpoints that have seen something from a time on; return the newest that is left.

        None, and nothing is forgotten, when no checkpoint reaches back that far.
        """
        place = self.place(transform, market)
        head = read_head(place)
        kept = [] if head is None else [one for one in head.checkpoints if one.until <= upto]
        if head is None or not kept:
            return None
        _write_head(place, Head(head.format, head.transform, head.exchange, head.symbol, kept), head)
        return kept[0]

    def heads(self) -> Iterator[tuple[Place, Head]]:
        """Yield all states, sorted by place; other files beside the folders of transforms are passed over.

        Raises
        ------
        StateError
            At a state that is damaged.
        """
        for place in [self.root] if self.of_one else self._heads():
            with contextlib.suppress(*[StateError] if place.parent == self.root else []):
                if (head := read_head(place)) is not None:
                    yield place, head

    def _heads(self) -> list[Place]:
        """Return the heads directly in the folder, then those of transforms and markets."""
        root = self.root
        keys = (info.key for info in root.storage.list(root.key) if info.key.endswith(".json"))
        deep = ((len(key.split("/")) - len((root / "x").key.split("/")), key) for key in keys)
        return [Place(root.storage, key) for depth, key in sorted(deep) if depth in (0, 2)]

    def reset(self, transform: str, market: Market) -> bool:
        """Forget a state, even a damaged one; return whether there was one."""
        place = self.place(transform, market)
        there = place.exists()
        place.storage.delete(place.key)
        if there:
            _sweep(place, _bodies(place))
        return there


def read_head(place: Place) -> Head | None:
    """Return the head at a place, None if there is none; raises `StateError` if it is damaged or of another format."""
    try:
        data = place.storage.get(place.key)
    except NotFoundError:
        return None
    try:
        head = msgspec.json.decode(data, type=Head)
    except msgspec.MsgspecError as error:
        raise StateError(
            f"{place} is not a state ({error}): move it away, or start afresh with --reset-state"
        ) from error
    if head.format != FORMAT:
        raise StateError(f"{place} has format {head.format}, this version reads {FORMAT}: use --reset-state")
    return head


def _write_head(place: Place, head: Head, before: Head | None) -> None:
    text = msgspec.json.format(msgspec.json.encode(head))
    place.storage.put(place.key, text + b"\n", overwrite=True)
    # On a disk it is cheap to look also for what a crash left.
    there = _bodies(place) if place.local_path else {one.file for one in (before.checkpoints if before else ())}
    _sweep(place, there - {one.file for one in head.checkpoints})


def _of_another(place: Place, found: Checkpoint, fingerprint: str) -> str:
    what = "another configuration"
    if found.version != daedalus.__version__:
        what = f"another version (Daedalus {found.version}, this is {daedalus.__version__}) or configuration"
    return (
        f"{place} is the state of {what} (fingerprint {found.fingerprint[:12]}, now {fingerprint[:12]}): use the "
        "settings that it was written with, another --state-path, or start afresh with --reset-state"
    )


def _checked_bytes(place: Place, found: Checkpoint) -> bytes:
    body = place.parent / Path(found.file).name
    try:
        data = body.storage.get(body.key)
    except NotFoundError:
        raise StateError(f"{place} names {found.file}, which is missing: restore it, or use --reset-state") from None
    if hashlib.sha256(data).hexdigest() != found.sha256:
        raise StateError(f"{body} is damaged (its checksum disagrees): use --reset-state")
    return data


def _stem(place: Place) -> str:
    return place.name.removesuffix(".json")


def _bodies(place: Place) -> set[str]:
    """Return the names of all bytes of checkpoints beside a head."""
    name = re.compile(rf"{re.escape(_stem(place))}\.[0-9a-f]{{16}}\.bin")
    local = place.local_path
    if local is not None:
        found = {path.name for path in local.parent.glob("*.bin")}
    else:
        found = {info.key.rpartition("/")[2] for info in place.storage.list(place.parent.key)}
    return {one for one in found if name.fullmatch(one)}


def _sweep(place: Place, names: set[str]) -> None:
    """Remove bytes that no head names any more, and what a crash left unfinished."""
    for name in sorted(names):
        place.storage.delete((place.parent / name).key)
    if place.local_path is not None:
        remove_temporaries(place.local_path.parent, f"{_stem(place)}.")
