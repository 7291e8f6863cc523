"""The application's settings: defaults < file < environment variables < flags. Import the models from here.

>>> load_config(None, environ={}, default_path="/nonexistent").ingestion.batch_size
1000
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from daedalus.config.application import DaedalusConfig, LoggingConfig, MetricsConfig
from daedalus.config.base import Section
from daedalus.config.environment import Setting, expand, read_environment
from daedalus.config.etl import (
    BarsChannelConfig,
    EtlChannels,
    EtlConfig,
    OrderbookChannelConfig,
    OrderbookProcessorOptions,
    TickerChannelConfig,
    TradesChannelConfig,
    WatchConfig,
)
from daedalus.config.exchanges import CcxtConfig, CcxtExchangeConfig, CoinbaseConfig, StallTimeouts
from daedalus.config.ingestion import IngestionConfig
from daedalus.config.keys import find, keys_of
from daedalus.config.origins import FLAG, KeyPath, Origin, Origins
from daedalus.config.problems import ConfigProblemsError, Problem, from_validation
from daedalus.config.storage import (
    AzureConfig,
    GcsConfig,
    PathsConfig,
    RequestsConfig,
    RetentionConfig,
    S3Config,
    StorageConfig,
    StoreConfig,
    SyncConfig,
)
from daedalus.config.yaml_file import YamlFile, read_yaml

__all__ = [
    "DEFAULT_PATH",
    "AzureConfig",
    "BarsChannelConfig",
    "CcxtConfig",
    "CcxtExchangeConfig",
    "CoinbaseConfig",
    "ConfigProblemsError",
    "DaedalusConfig",
    "EtlChannels",
    "EtlConfig",
    "GcsConfig",
    "IngestionConfig",
    "LoggingConfig",
    "MetricsConfig",
    "OrderbookChannelConfig",
    "OrderbookProcessorOptions",
    "Origin",
    "Origins",
    "PathsConfig",
    "Problem",
    "RequestsConfig",
    "RetentionConfig",
    "S3Config",
    "StallTimeouts",
    "StorageConfig",
    "StoreConfig",
    "SyncConfig",
    "TickerChannelConfig",
    "TradesChannelConfig",
    "WatchConfig",
    "load_config",
    "permission_warning",
]

DEFAULT_PATH = Path("config/config.yaml")


def load_config(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    default_path: str | os.PathLike[str] = DEFAULT_PATH,
) -> DaedalusConfig:
    """Read, combine and check the settings.

    Parameters
    ----------
    path
        The file. None reads `default_path` where there is one, and else uses the defaults alone.
    overrides
        Flags: dotted keys and their values, which win over everything. None as a value means "flag not given".
    environ
        Environment variables; None takes the process's own.
    default_path
        Where to look when `path` is None.

    Returns
    -------
    DaedalusConfig
        With `origins`, which tells where each value comes from.

    Raises
    ------
    ConfigError
        With everything that is wrong, each with its place and what to do. No text ever holds a secret.
    """
    file = _read_file(path, Path(default_path))
    settings, problems = read_environment(os.environ if environ is None else environ, DaedalusConfig)
    for name, value in (overrides or {}).items():
        if value is not None:
            settings += expand(tuple(name.split(".")), value, FLAG, DaedalusConfig)
    file.origins.secrets_in_file = _holds_secrets(file)
    for setting in settings:
        _put(file, setting)
    _fill_empty_sections(file.data, DaedalusConfig)
    problems = file.problems + problems
    try:
        config = DaedalusConfig.model_validate(file.data)
    except ValidationError as error:
        # What could not be read stands as null, of which no more need be said.
        unread = {problem.path for problem in problems if problem.unread}
        found = from_validation(error, DaedalusConfig, file.origins)
        raise ConfigProblemsError(problems + [problem for problem in found if problem.path not in unread]) from None
    if problems:
        raise ConfigProblemsError(problems)
    return config.with_origins(file.origins)


def _read_file(path: str | os.PathLike[str] | None, default_path: Path) -> YamlFile:
    if path is None and not default_path.exists():
        return YamlFile({}, Origins())
    return read_yaml(default_path if path is None else Path(path).expanduser())


def _put(file: YamlFile, setting: Setting) -> None:
    """Set one key. Where the file holds no mapping on the way, its own fault is reported instead."""
    here: dict[str, object] = file.data
    for name in setting.path[:-1]:
        if here.get(name) is None:
            here[name] = {}
        inner = here[name]
        if not isinstance(inner, dict):
            return
        here = inner
    here[setting.path[-1]] = setting.value
    file.origins.set(setting.path, setting.origin)


def _fill_empty_sections(data: dict[str, object], section: type[Section]) -> None:
    """Read `coinbase:` with nothing under it (all keys commented out) as an empty section, not as null."""
    for name, key in keys_of(section).items():
        if name not in data or key.is_leaf:
            continue
        value = data[name] = {} if data[name] is None else data[name]
        if not isinstance(value, dict):
            continue
        if key.section is not None:
            _fill_empty_sections(value, key.section)
        elif key.entries is not None:
            for entry in value:
                value[entry] = {} if value[entry] is None else value[entry]


def permission_warning(config: DaedalusConfig) -> str | None:
    """Return a warning when the file holds secrets and people other than its owner can read it."""
    file = config.origins.file
    if file is None or os.name != "posix" or not config.origins.secrets_in_file:
        return None
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & 0o077:
        return None
    return f"{file} holds secrets and others can read it (mode {mode:04o}); run: chmod 600 {file}"


def _holds_secrets(file: YamlFile) -> bool:
    """Return whether a secret stands in the file, even one that a variable or a flag replaces."""
    keys = {path: find(DaedalusConfig, path)[0] for path in file.origins.places}
    return any(key is not None and key.is_secret and _value(file.data, path) for path, key in keys.items())


def _value(data: object, path: KeyPath) -> object:
    for part in path:
        data = data.get(str(part)) if isinstance(data, dict) else None
    return data
