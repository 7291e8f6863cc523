"""The table of backends: a new one is its class and a line here. Imports are lazy: local disks need no obstore."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from daedalus.shared.errors import ConfigError
from daedalus.storage.base import Storage
from daedalus.storage.local import LocalStorage


def _s3() -> Callable[..., Storage]:
    from daedalus.storage.clouds import S3Storage

    return S3Storage


def _gcs() -> Callable[..., Storage]:
    from daedalus.storage.clouds import GcsStorage

    return GcsStorage


def _azure() -> Callable[..., Storage]:
    from daedalus.storage.clouds import AzureStorage

    return AzureStorage


def _memory() -> Callable[..., Storage]:
    from daedalus.storage.clouds import MemoryStorage

    return MemoryStorage


BACKENDS: dict[str, Callable[[], Callable[..., Storage]]] = {
    "local": lambda: LocalStorage,
    "s3": _s3,
    "gcs": _gcs,
    "azure": _azure,
    "memory": _memory,
}


#: Addresses of object stores: the backend, and what it calls the first part.
_SCHEMES = {"s3": ("s3", "bucket"), "gs": ("gcs", "bucket"), "az": ("azure", "container")}


def address(text: str) -> tuple[str, dict[str, Any]]:
    """Return the backend of a directory or address, and the arguments of `make_storage` that it stands for.

    Raises
    ------
    ConfigError
        If it is an address of another kind.

    Examples
    --------
    >>> address("s3://lake/pi-4")
    ('s3', {'bucket': 'lake', 'prefix': 'pi-4'})
    """
    if "://" not in text:
        return "local", {"base_dir": Path(text).expanduser()}
    parts = urlsplit(text)
    if parts.scheme not in _SCHEMES or not parts.netloc or parts.query or "@" in parts.netloc:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise ConfigError(
            f"{parts.scheme}://{parts.hostname}: give a directory or {known}BUCKET/PREFIX; keys belong"
            " into the settings or the environment"
        )
    backend, container = _SCHEMES[parts.scheme]
    return backend, {container: parts.netloc, "prefix": parts.path.strip("/")}


def make_storage(backend: str, options: Mapping[str, Any]) -> Storage:
    """Return a store.

    Parameters
    ----------
    backend
        A name of `BACKENDS`.
    options
        Arguments of its constructor.

    Raises
    ------
    ConfigError
        If there is no such backend, or its address must not be used.

    Examples
    --------
    >>> make_storage("memory", {}).url
    'memory:'
    """
    if backend not in BACKENDS:
        raise ConfigError(f"there is no backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    return BACKENDS[backend]()(**options)
