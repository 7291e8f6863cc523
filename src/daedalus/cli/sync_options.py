"""From settings to a sync: which stores, which folders, which keys."""

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daedalus.cli.stores import open_store, place_flags
from daedalus.shared.errors import ConfigError

if TYPE_CHECKING:
    from daedalus.config.config import DaedalusConfig
    from daedalus.etl.core.config import FilterSpec
    from daedalus.storage.base import Storage
    from daedalus.storage.sync import StorageSync
    from daedalus.storage.sync_report import Move

_TAIL_BYTES = 1 << 16


def sync_settings(
    config: Path | None,
    overrides: list[str] | None,
    source: Path | None,
    destination: str | None,
    given: Mapping[str, object],
    debug: bool,
) -> "DaedalusConfig":
    """Read the settings with the flags over them, and set up the logs."""
    from daedalus.cli.logs import configure_logging
    from daedalus.cli.overrides import parse_overrides
    from daedalus.cli.wiring import logging_options
    from daedalus.config.config import load_config

    flags: dict[str, Any] = parse_overrides(overrides)
    flags |= {f"storage.sync.{name}": value for name, value in given.items() if value is not None}
    if source is not None:
        flags |= place_flags("sync.source", str(source))
    if destination is not None:
        flags |= place_flags("sync.destination", destination)
    if debug:
        flags["logging.level"] = "DEBUG"
    settings = load_config(config, flags)
    configure_logging(**logging_options(settings))
    return settings


def make_sync(settings: "DaedalusConfig", chosen: "FilterSpec", **more: Any) -> "StorageSync":
    """Return the sync that the settings describe.

    Raises
    ------
    ConfigError
        If the source is no local disk, or both sides are the same place.
    """
    from daedalus.storage.local import LocalStorage
    from daedalus.storage.sync import StorageSync

    lake, store = _lake(settings), _store(settings)
    if isinstance(store, LocalStorage) and store.base_dir.resolve().is_relative_to(lake.resolve()):
        raise ConfigError(
            "storage.sync.destination is the lake itself, or lies in it: set it, or give --destination s3://BUCKET/PREFIX"
        )
    options = {**sync_options(settings), "is_needed": needed_here(settings), **more}
    return StorageSync(LocalStorage(lake), store, wanted=key_filter(chosen), **options)


def needed_here(settings: "DaedalusConfig") -> Callable[[str], bool]:
    """Return which files of the lake stay, copied or not: manifests, and the segments that `daedalus watch` needs."""
    by_watchers = _needed_by_watchers(settings)
    # Without its manifest, a recording that was imported would be imported again.
    manifests = (f"{settings.storage.paths.tier_raw}/imports/", "manifests/")
    return lambda key: key.startswith(manifests) or by_watchers(key)


def _needed_by_watchers(settings: "DaedalusConfig") -> Callable[[str], bool]:
    from daedalus.cli.wiring import watch_states

    states = watch_states(settings)
    if not settings.storage.sync.delete_after_transfer or not states.is_dir():
        return lambda key: False
    from daedalus.etl.core.needs import NeededSegments
    from daedalus.storage.base import Place
    from daedalus.storage.local import as_storage

    paths = settings.storage.paths
    lake = Place(as_storage(_lake(settings)))
    silver = Place(as_storage(open_store(settings, "etl_storage_output")))
    return NeededSegments(lake, f"{paths.tier_raw}/ready", states, silver, paths.tier_features)


def sync_options(settings: "DaedalusConfig") -> dict[str, Any]:
    """Return the arguments of `StorageSync` but the stores."""
    options = settings.storage.sync
    rate = options.bandwidth_mb_per_second
    return {
        "paths": synced_paths(settings),
        "workers": options.max_workers,
        "bytes_per_second": None if rate is None else rate * 1e6,
        "trust_ledger": options.trust_ledger,
        "delete_after_transfer": options.delete_after_transfer,
        "keep_local_hours": options.keep_local_hours,
    }


def compact_first(settings: "DaedalusConfig", direction: str, stop: "threading.Event") -> None:
    """Merge small segments before they go up, where the settings say so; what cannot be merged goes up as it is."""
    lake = _lake(settings)
    is_recorded = any((lake / settings.storage.paths.tier_raw / "ready").glob("*/"))
    if not settings.storage.sync.compact_before_upload or direction == "download" or not is_recorded:
        return
    import structlog

    from daedalus.cli.compact import compactions

    for compaction in compactions(settings, lake=lake):
        for outcome in compaction.run():
            if stop.is_set():
                return
            if outcome.problem:
                structlog.get_logger(__name__).warning("not merged", problem=outcome.problem)


def synced_paths(settings: "DaedalusConfig") -> list[str]:
    """Return the folders of the lake that are synced."""
    options, tier = settings.storage.sync, settings.storage.paths.tier_raw
    if options.paths:
        given = sorted({_checked_path(path.strip("/"), tier) for path in options.paths})
        return [path for path in given if not any(path.startswith(f"{other}/") for other in given)]
    raw = [f"{tier}/ready"] if options.include_raw else []
    return [*raw, "processed", f"{tier}/imports", "manifests"]


def _checked_path(path: str, tier: str) -> str:
    """Return a folder that may be synced. Raises `ConfigError` for others, such as those of journals."""
    from daedalus.shared.errors import StorageError
    from daedalus.storage.base import check_key

    try:
        check_key(path)
    except StorageError as error:
        raise ConfigError(f"--paths (storage.sync.paths): {error}") from None
    if path == tier or path.split("/")[:2] in ([tier, "active"], [tier, "compacting"]):
        raise ConfigError(f"--paths {path}: journals never leave this machine; give {tier}/ready or a folder below")
    return path


def destination_url(settings: "DaedalusConfig") -> str:
    """Return where the other store is."""
    return _store(settings).url


def health_path(settings: "DaedalusConfig") -> Path:
    """Return the file in which a continuous sync tells how it does."""
    return Path(settings.storage.paths.state_dir).expanduser() / "sync.json"


def key_filter(chosen: "FilterSpec") -> Callable[[str], bool] | None:
    """Return which keys a filter selects: partitions, those of whole connections too; None when it selects all."""
    from daedalus.shared.events import ALL
    from daedalus.shared.partitioning import parse_partition_path

    if not any(vars(chosen).values()):
        return None

    def wanted(key: str) -> bool:
        folders = [part for part in key.split("/") if "=" in part]
        values = parse_partition_path("/".join(folders)) if folders else {}
        exchange, symbol = (None if (v := values.get(name)) is None else str(v) for name in ("exchange", "symbol"))
        if exchange is None or not chosen.selects_market(exchange, chosen.symbol if symbol == ALL else symbol):
            return False
        span = _span(values)
        return span is None or chosen.selects_time(*span)

    return wanted


def _span(values: Mapping[str, Any]) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the hour or day of a partition; None when it is coarser than a day."""
    if "date" in values:
        day = dt.datetime.fromisoformat(str(values["date"])).replace(tzinfo=dt.UTC)
    elif {"year", "month", "day"} <= values.keys():
        day = dt.datetime(int(values["year"]), int(values["month"]), int(values["day"]), tzinfo=dt.UTC)
    else:
        return None
    if "hour" in values:
        start = day + dt.timedelta(hours=int(values["hour"]))
        return start, start + dt.timedelta(hours=1)
    return day, day + dt.timedelta(days=1)


def rows_of(settings: "DaedalusConfig", move: "Move") -> int | None:
    """Return the rows of a file, by its name or its Parquet footer; None for one without rows."""
    from daedalus.shared.segment import SegmentName
    from daedalus.storage.copies import is_segment
    from daedalus.storage.local import LocalStorage

    name = move.key.rsplit("/", 1)[-1]
    if is_segment(move.key):
        parsed = SegmentName.parse(name)
        return parsed.last_row - parsed.first_row + 1
    if not name.endswith(".parquet"):
        return None
    side: Storage = _store(settings) if move.kind == "download" else LocalStorage(_lake(settings))
    return _parquet_rows(side, move.key, move.size)


def _parquet_rows(store: "Storage", key: str, size: int) -> int:
    """Read a footer from the end of a file, which is where Parquet keeps it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tail = store.get(key, start=max(0, size - _TAIL_BYTES))
    needed = int.from_bytes(tail[-8:-4], "little") + 8
    if needed > len(tail):
        tail = store.get(key, start=max(0, size - needed))
    return int(pq.read_metadata(pa.BufferReader(tail)).num_rows)


def _lake(settings: "DaedalusConfig") -> Path:
    lake = open_store(settings, "sync.source")
    if not isinstance(lake, Path):
        raise ConfigError("storage.sync.source is no local directory: sync copies between the lake here and a store")
    return lake


def _store(settings: "DaedalusConfig") -> "Storage":
    from daedalus.storage.local import LocalStorage

    store = open_store(settings, "sync.destination")
    return LocalStorage(store) if isinstance(store, Path) else store
