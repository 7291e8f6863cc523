"""Writing a file that may come to hold secrets."""

import contextlib
import os
import tempfile
from pathlib import Path

from daedalus.shared.errors import ConfigError

OWNER_ONLY = 0o600


def write_private(path: Path, text: str, force: bool = False) -> None:
    """Write a text file that only its owner can read, whole or not at all.

    Parameters
    ----------
    path
        Where to; missing directories are made.
    force
        Replace a file that is there.

    Raises
    ------
    ConfigError
        If the file exists and `force` is not set, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {path.parent}: {error.strerror}") from None
    try:
        if force:
            _replace(path, text)
        else:
            # Refused where the name is taken, even by somebody who was faster or by a dangling link.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
            _fill(handle, path, text)
    except FileExistsError:
        raise ConfigError(f"{path} exists and was left as it is; --force replaces it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner only
    _fill(handle, Path(name), text)
    try:
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _fill(handle: int, path: Path, text: str) -> None:
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
