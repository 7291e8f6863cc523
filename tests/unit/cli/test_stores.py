"""Places on the command line become settings of a store."""

import pytest

from daedalus.cli.etl import load_settings
from daedalus.cli.stores import open_store, place_flags, store_options
from daedalus.config.config import DaedalusConfig, load_config
from daedalus.shared.errors import ConfigError


def load(**flags: object) -> DaedalusConfig:
    return load_config(overrides={**flags}, environ={}, default_path="/nonexistent")


@pytest.mark.parametrize(
    ("place", "backend", "where"),
    [
        ("lake", "local", "lake"),
        ("/mnt/sd card/lake", "local", "/mnt/sd card/lake"),
        ("s3://lake", "s3", "s3://lake"),
        ("s3://lake/homes/pi-4/", "s3", "s3://lake/homes/pi-4"),
        ("gs://lake/pi-4", "gcs", "gs://lake/pi-4"),
        ("az://lake/pi-4", "azure", "az://lake/pi-4"),
    ],
)
def test_a_place_is_a_store(place: str, backend: str, where: str) -> None:
    flags = place_flags("etl_storage_input", place)
    assert flags["storage.etl_storage_input.backend"] == backend
    config = load(**flags, **{"storage.etl_storage_input.azure.account_name": "a"})
    store = open_store(config, "etl_storage_input")
    assert (str(store) if backend == "local" else store.url) == where  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "place", ["http://host/lake", "s3:///prefix", "s3://key:secret@lake", "ftp://h", "s3://b?sig=1"]
)
def test_other_addresses_are_refused_without_quoting_keys(place: str) -> None:
    with pytest.raises(ConfigError, match="give a directory or s3://") as caught:
        place_flags("etl_storage_input", place)
    assert "secret" not in str(caught.value)


def test_a_place_replaces_what_the_settings_say() -> None:
    section = "storage.etl_storage_output"
    flags = {f"{section}.backend": "s3", f"{section}.s3.bucket": "b", f"{section}.s3.prefix": "p"}
    config = load(**{**flags, **place_flags("etl_storage_output", "s3://other")})
    assert open_store(config, "etl_storage_output").url == "s3://other"  # type: ignore[union-attr]
    assert (
        str(open_store(load(**{**flags, **place_flags("etl_storage_output", "here")}), "etl_storage_output")) == "here"
    )


def test_http_to_other_machines_must_be_allowed() -> None:
    flags = {"storage.sync.destination.s3.endpoint_url": "http://nas.lan:9000"}
    with pytest.raises(ConfigError, match=r"must start with https://.* unless allow_http is set"):
        load(**flags)
    load(**flags, **{"storage.sync.destination.s3.allow_http": True})


def test_the_output_is_where_the_input_is_with_its_keys_too() -> None:
    keys = {"access_key_id": "a", "secret_access_key": "s", "endpoint_url": "http://127.0.0.1:9000"}
    overrides = [f"storage.etl_storage_input.s3.{name}={value}" for name, value in keys.items()]
    config = load_settings(None, overrides, "s3://lake/pi", None, False)
    both = [store_options(config, f"etl_storage_{name}", "s3") for name in ("input", "output")]
    assert both[0] == both[1]
    assert (both[1]["bucket"], both[1]["access_key_id"]) == ("lake", "a")
    apart = load_settings(None, overrides, "s3://lake/pi", "results", False)
    assert str(open_store(apart, "etl_storage_output")) == "results"
    assert config.origins.of(("storage", "etl_storage_input", "s3", "bucket"))
