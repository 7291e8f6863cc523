"""What an output was made from, in its own footer: so that rows and their origin are published in one step."""

from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from daedalus.shared.errors import NotFoundError
from daedalus.shared.segment import FOOTER_PREFIX
from daedalus.storage.base import Place
from daedalus.storage.partitions import Partition
from daedalus.storage.reader import open_object
from daedalus.storage.replaced import TRIES, relisted

KEY = FOOTER_PREFIX + "inputs"


class InputFile(msgspec.Struct, frozen=True):
    """A segment that rows were computed from.

    Attributes
    ----------
    key
        Its key in the store.
    size
        Bytes.
    sha256
        Of its bytes.
    """

    key: str
    size: int
    sha256: str


def described(inputs: Mapping[str, Sequence[Partition]]) -> tuple[dict[str, list[Partition]], str]:
    """Return the inputs of a stretch as they are now, and their `manifest`.

    Segments that were merged since they were listed are listed anew. Raises `NotFoundError` when one is gone for good.
    """
    found = {name: list(partitions) for name, partitions in inputs.items()}
    for _ in range(TRIES - 1):
        try:
            return found, manifest(found)
        except NotFoundError:
            found = {name: [relisted(partition) for partition in partitions] for name, partitions in found.items()}
    return found, manifest(found)


def manifest(inputs: Mapping[str, Sequence[Partition]]) -> str:
    """Return the segments of a stretch as JSON, sorted by key; hashes are the store's where it has recorded them."""
    places = {place.key: place for partitions in inputs.values() for p in partitions for place in p.segments()}
    return msgspec.json.encode([_described(places[key]) for key in sorted(places)]).decode()


def inputs_of(output: Place) -> list[InputFile] | None:
    """Return what a published file says it was made from; None when it does not say, or is no Parquet."""
    try:
        with pq.ParquetFile(output.local_path or open_object(output)) as file:
            text = (file.schema_arrow.metadata or {}).get(KEY.encode()) or (file.metadata.metadata or {}).get(
                KEY.encode()
            )
    except (OSError, pa.ArrowException):
        return None
    return None if text is None else msgspec.json.decode(text, type=list[InputFile])


def _described(place: Place) -> InputFile:
    info = place.storage.head(place.key)
    return InputFile(place.key, info.size, info.sha256 or place.storage.digest(place.key))
