"""The table of backends: a new one is its class and a line here. Imports are lazy: local disks need no obstore."""

from collections.abc import Callable, Mapping
from typing import Any

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
