"""`verify` of a lake in an object store: a folder at a time is fetched, checked as on a disk, and removed."""

import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import msgspec

from daedalus.lake.segment_check import RESTORE, Finding
from daedalus.lake.verify import Checked, LakeCheck, is_data_file
from daedalus.shared.errors import CorruptError, NotFoundError
from daedalus.shared.segment import sidecar_path
from daedalus.storage.base import Place

GONE = "it went while it was checked: check again"


class ObjectCheck:
    """The check of the segments below a folder of a store, or of a single one.

    The SHA-256 that was recorded when a segment was put is compared first; there is no ledger to compare with.

    Parameters
    ----------
    root
        The folder or the object. Of a lake or its raw tier, what is in ``ready`` is checked.

    Raises
    ------
    NotFoundError
        If there is nothing.
    """

    def __init__(self, root: Place) -> None:
        self.root = root
        self._keys = sorted(self._find())
        if not self._keys:
            raise NotFoundError(f"there are no segments at {root}: name a lake, a folder in it, or a segment")

    def segments(self) -> Iterator[Place]:
        """Yield the objects to check."""
        yield from (Place(self.root.storage, key) for key in self._keys)

    def run(self) -> Iterator[Checked]:
        """Check segment after segment.

        Raises
        ------
        StorageError
            If the store fails.
        """
        for folder, keys in groupby(self._keys, key=lambda key: key.rpartition("/")[0]):
            with tempfile.TemporaryDirectory(prefix="daedalus-verify-") as name:
                yield from self._check(Path(name), folder, list(keys))

    def _check(self, base: Path, folder: str, keys: list[str]) -> Iterator[Checked]:
        (base / folder).mkdir(parents=True)
        for key in keys:
            if (damaged := self._fetch(base, key)) is not None:
                yield damaged
        for checked in LakeCheck(base / folder).run():
            findings = [Finding(self._name(base, f.path), f.what, f.advice) for f in checked.findings]
            path = None if checked.path is None else self._name(base, checked.path)
            yield msgspec.structs.replace(checked, path=path, findings=findings)

    def _fetch(self, base: Path, key: str) -> Checked | None:
        """Copy an object, and what belongs to it, to this machine; return what is wrong when that does not work."""
        place, path = Place(self.root.storage, key), base / key
        try:
            self.root.storage.get_file(key, path)
        except (CorruptError, NotFoundError) as error:
            words = "its bytes are not those that were put" if isinstance(error, CorruptError) else GONE
            return Checked(str(place), 0, 0, [Finding(str(place), words, RESTORE)])
        beside = sidecar_path(Path(key)).as_posix()
        if path.suffix != ".parquet" and Place(self.root.storage, beside).exists():
            self.root.storage.get_file(beside, base / beside)
        return None

    def _name(self, base: Path, path: str) -> str:
        """Return an object's address from where it was fetched to."""
        return str(Place(self.root.storage, Path(path).relative_to(base).as_posix()))

    def _find(self) -> Iterator[str]:
        storage, root = self.root.storage, self.root
        if root.key and is_data_file(root.name) and root.exists():
            yield root.key
            return
        names = root.folders()
        ready = [root / "ready"] if "ready" in names else []
        ready += [root / name / "ready" for name in names if "ready" in (root / name).folders()]
        for place in ready or [root]:
            yield from (info.key for info in storage.list(place.key) if is_data_file(info.key.rsplit("/", 1)[-1]))
