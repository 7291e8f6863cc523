"""From settings to stores: which one a section names, and what a place on the command line means."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from daedalus.storage.base import Place
from daedalus.storage.factory import address

if TYPE_CHECKING:
    from pydantic import SecretStr

    from daedalus.config.config import DaedalusConfig, StoreConfig
    from daedalus.storage.base import Storage

#: The section whose keys and endpoint are used to read a place that the command line names.
STORE_READ = "etl_storage_input"


def section(config: "DaedalusConfig", name: str) -> "StoreConfig":
    """Return a store's settings by its dotted name below ``storage``: etl_storage_input, sync.source."""
    here: Any = config.storage
    for part in name.split("."):
        here = getattr(here, part)
    return here  # type: ignore[no-any-return]


def store_options(config: "DaedalusConfig", name: str, backend: str) -> dict[str, Any]:
    """Return the arguments of a backend's constructor. Holds secrets: never print it."""
    store = section(config, name)
    if backend == "local":
        return {"base_dir": Path(store.base_dir or config.storage.base_dir).expanduser()}
    if backend == "memory":
        return {}
    options = {key: _plain(value) for key, value in getattr(store, backend)}
    return {**options, "policy": _policy(config)}


def open_store(config: "DaedalusConfig", name: str) -> "Path | Storage":
    """Return a section's store: a directory, or an object store. No request is made.

    Raises
    ------
    ConfigError
        If its address must not be used.
    """
    backend = section(config, name).backend
    options = store_options(config, name, backend)
    if backend == "local":
        return Path(options["base_dir"])
    from daedalus.storage.factory import make_storage

    return make_storage(backend, options)


def place_flags(name: str, text: str) -> dict[str, object]:
    """Return the settings that a place on the command line stands for; the rest of its section keeps its values.

    Raises
    ------
    ConfigError
        If it is an address of another kind.

    Examples
    --------
    >>> place_flags("etl_storage_input", "s3://lake/pi-4")["storage.etl_storage_input.s3.bucket"]
    'lake'
    """
    prefix = f"storage.{name}"
    backend, options = address(text)
    if backend == "local":
        return {f"{prefix}.backend": "local", f"{prefix}.base_dir": text}
    return {f"{prefix}.backend": backend, **{f"{prefix}.{backend}.{key}": value for key, value in options.items()}}


def with_output_of_input(config: "DaedalusConfig") -> "DaedalusConfig":
    """Return the settings with the ETL's output where its input is, and with the input's keys and address."""
    storage = config.storage.model_copy(update={"etl_storage_output": config.storage.etl_storage_input})
    return config.model_copy(update={"storage": storage})


def other_store(config: "DaedalusConfig", name: str, text: str) -> "Path | Storage":
    """Return the store at a place on the command line, with all else as a section says. No request is made.

    Raises
    ------
    ConfigError
        If it is an address of another kind.
    """
    flags = {key.rpartition(".")[2]: value for key, value in place_flags(name, text).items()}
    backend = str(flags.pop("backend"))
    if backend == "local":
        return Path(text).expanduser()
    from daedalus.storage.factory import make_storage

    return make_storage(backend, {**store_options(config, name, backend), **flags})


def state_place(config: "DaedalusConfig", text: str, engine: str = "local") -> "Path | Place":
    """Return the place of states on the command line: a file or folder, or one in a store with the output's keys.

    Raises
    ------
    ConfigError
        If it is an address of another kind.
    """
    if address(text)[0] == "local":
        path = Path(text).expanduser()
        return path if engine == "local" else path.absolute()
    from daedalus.storage.local import as_storage

    folder, _, name = text.rpartition("/") if text.endswith(".json") else (text, "", "")
    return Place(as_storage(other_store(config, "etl_storage_output", folder)), name)


def _policy(config: "DaedalusConfig") -> object:
    from daedalus.storage.retry import RetryPolicy

    requests = config.storage.requests
    return RetryPolicy(
        attempts=requests.attempts,
        longest_wait_s=requests.wait_seconds_max,
        timeout_s=requests.timeout_seconds,
        connect_timeout_s=requests.connect_timeout_seconds,
    )


def _plain(value: "object | SecretStr") -> object:
    from pydantic import SecretStr

    return value.get_secret_value() if isinstance(value, SecretStr) else value
