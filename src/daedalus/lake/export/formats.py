"""The table of export formats, and what drives them: a file appears when it is whole."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daedalus.lake.export import hftbacktest, nautilus, plain
from daedalus.lake.export.market import Market
from daedalus.shared.errors import ConfigError, StorageError
from daedalus.storage.local import TEMP_SUFFIX, explained, publish

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl


@dataclass(frozen=True)
class Format:
    """One format: of a whole table, or of one market. One of the two functions is there; both write to a path.

    Parameters
    ----------
    doc
        What it is.
    table
        Writes the rows of a table, given file by file.
    market
        Writes a market; returns how many events.
    is_folder
        Whether it takes a folder, into which several exports may go.
    """

    doc: str
    table: "Callable[[Sequence[pl.LazyFrame], Path], None] | None" = None
    market: Callable[[Market, Path], int] | None = None
    is_folder: bool = False


FORMATS: dict[str, Format] = {
    "hftbacktest": Format("one .npz of events of l2 and trades of a market", market=hftbacktest.write),
    "nautilus": Format("a nautilus_trader catalog: deltas, trades, instrument", market=nautilus.write, is_folder=True),
    "csv": Format("a table as text; books as columns of 20 levels", table=plain.write_csv),
    "arrow": Format("a table as an Arrow IPC file", table=plain.write_arrow),
}


def find(name: str) -> Format:
    """Return a format by its name. Raises `ConfigError` if there is none."""
    if name not in FORMATS:
        raise ConfigError(f"no export format {name!r}: {', '.join(FORMATS)}")
    return FORMATS[name]


@contextmanager
def whole_file(path: Path) -> "Iterator[Path]":
    """Give a place beside a file, which takes its name at the end; what was there is replaced then and not before.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: --output names a file")
    temp = path.with_name(f"{path.name}{TEMP_SUFFIX}")
    try:
        with explained(path):
            yield temp
            publish(temp, path, overwrite=True)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}") from error
    finally:
        temp.unlink(missing_ok=True)
