"""The object stores by name. Constructors take plain values; secrets among them are kept out of every text."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import obstore
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from daedalus.shared.errors import ConfigError
from daedalus.shared.network import is_loopback
from daedalus.storage.object_store import MULTIPART_BYTES, ObjectStorage
from daedalus.storage.retry import RetryPolicy

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Credential

# S3's own condition for a copy that must not replace; stores that are compatible answer it alike.
_COPY_NEW = "header-with-status: If-None-Match: *: 412"


class S3Storage(ObjectStorage):
    """A bucket of S3 or of a compatible store.

    Parameters
    ----------
    bucket, prefix
        Where; the prefix is put before every key.
    endpoint_url
        Address of a compatible store; None uses ``AWS_ENDPOINT_URL``, without which it is AWS.
    region
        None leaves it to ``AWS_REGION``, else us-east-1.
    access_key_id, secret_access_key, session_token
        Credentials; None uses the standard AWS environment variables or the instance's role.
    allow_http
        Whether http:// is allowed to other machines than this one.
    policy
        How often and how long it is asked again.
    multipart_bytes
        Files larger than that go up in parts.

    Raises
    ------
    ConfigError
        If the address must not be used.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        allow_http: bool = False,
        policy: RetryPolicy | None = None,
        multipart_bytes: int = MULTIPART_BYTES,
    ) -> None:
        url, policy = _url("s3", bucket, prefix), policy or RetryPolicy()
        endpoint_url = endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or None
        keys = {"access_key_id": access_key_id, "secret_access_key": secret_access_key, "session_token": session_token}
        places = {"endpoint": endpoint_url, "region": region}
        given = {name: value for name, value in places.items() if value is not None}
        with _valid(url):
            store = S3Store(
                bucket,
                prefix=prefix or None,
                client_options=_client(policy, endpoint_url, allow_http),
                retry_config=_retries(policy),
                credential_provider=_fixed(access_key_id, secret_access_key, session_token),
                checksum_algorithm="SHA256",
                copy_if_not_exists=_COPY_NEW,
                # The answer to a deletion of many says of each whether it failed, which is easily overlooked.
                disable_bulk_delete=True,
                **given,  # type: ignore[arg-type]
            )
        given |= {name: value for name, value in keys.items() if value is not None}
        options = {f"aws_{name}": value for name, value in given.items()}
        if endpoint_url and endpoint_url.startswith("http://"):
            options["aws_allow_http"] = "true"
        super().__init__(
            store,
            url,
            policy=policy,
            scan_options=options,
            multipart_bytes=multipart_bytes,
            is_ordered=False,
        )


class GcsStorage(ObjectStorage):
    """A bucket of Google Cloud Storage.

    Parameters
    ----------
    bucket, prefix
        Where.
    service_account_file
        The JSON key of a service account; None uses ``GOOGLE_APPLICATION_CREDENTIALS`` or the machine's own account.
    endpoint_url
        Address of an emulator, which asks for no credentials; None means Google.
    allow_http, policy
        As in `S3Storage`.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        service_account_file: str | None = None,
        endpoint_url: str | None = None,
        allow_http: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        url, policy = _url("gs", bucket, prefix), policy or RetryPolicy()
        given: dict[str, str | bool] = {}
        if service_account_file is not None:
            given["service_account"] = str(Path(service_account_file).expanduser())
        if endpoint_url is not None:
            given |= {"base_url": endpoint_url, "skip_signature": True}
        with _valid(url):
            store = GCSStore(
                bucket,
                prefix=prefix or None,
                client_options=_client(policy, endpoint_url, allow_http),
                retry_config=_retries(policy),
                **given,  # type: ignore[arg-type]
            )
        options = {f"google_{name}": str(value) for name, value in given.items() if name == "service_account"}
        super().__init__(store, url, policy=policy, scan_options=options)


class AzureStorage(ObjectStorage):
    """A container of Azure Blob Storage.

    Parameters
    ----------
    container, prefix
        Where.
    account_name
        The storage account; None leaves it to ``AZURE_STORAGE_ACCOUNT_NAME``.
    account_key, sas_token
        One of both; None uses Azure's environment variables or the machine's managed identity.
    endpoint_url
        Address of another cloud or an emulator; None means Azure.
    allow_http, policy
        As in `S3Storage`.
    """

    def __init__(
        self,
        container: str,
        *,
        prefix: str = "",
        account_name: str | None = None,
        account_key: str | None = None,
        sas_token: str | None = None,
        endpoint_url: str | None = None,
        allow_http: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        url, policy = _url("az", container, prefix), policy or RetryPolicy()
        wanted = {
            "account_name": account_name,
            "account_key": account_key,
            "sas_key": sas_token,
            "endpoint": endpoint_url,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        with _valid(url):
            store = AzureStore(
                container,
                prefix=prefix or None,
                client_options=_client(policy, endpoint_url, allow_http),
                retry_config=_retries(policy),
                **given,  # type: ignore[arg-type]
            )
        options = {f"azure_storage_{name}": value for name, value in given.items()}
        super().__init__(store, url, policy=policy, scan_options=options)


class MemoryStorage(ObjectStorage):
    """A store in this process's memory, empty at the start: for tests and trials."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "memory:")

    def __reduce__(self) -> NoReturn:
        """Refuse: what another process would get is empty."""
        raise ConfigError("a store in memory is of one process: use a directory or an object store for several")


@contextlib.contextmanager
def _valid(url: str) -> Iterator[None]:
    """Turn what the library says about settings, which it may quote, into an error that quotes nothing."""
    try:
        yield
    except (obstore.exceptions.BaseError, ValueError):
        raise ConfigError(f"{url}: this is no usable store: check its keys, key file and endpoint_url") from None


def _fixed(access_key_id: str | None, secret: str | None, token: str | None) -> "Callable[[], S3Credential] | None":
    """Return what gives the client these keys; None leaves it to look for some.

    Handed over as settings, they would be joined by a session token of the environment, which belongs to other keys.
    """
    if access_key_id is None or secret is None:
        return None
    credential: S3Credential = {
        "access_key_id": access_key_id,
        "secret_access_key": secret,
        "token": token,
        "expires_at": None,
    }
    return lambda: credential


def _url(scheme: str, bucket: str, prefix: str) -> str:
    return f"{scheme}://{bucket}/{prefix}" if prefix else f"{scheme}://{bucket}"


def _client(policy: RetryPolicy, endpoint_url: str | None, allow_http: bool) -> "ClientConfig":
    """Return the client's options: certificates are verified, and plain http stays on this machine unless allowed."""
    parts = urlsplit(endpoint_url or "")
    plain = parts.scheme == "http"
    if plain and not allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"endpoint_url is http:// to {parts.hostname}: keys and data would be readable on the way. Use https://,"
            " or set allow_http in a network that you trust"
        )
    return {
        "allow_http": plain,
        "timeout": timedelta(seconds=policy.timeout_s),
        "connect_timeout": timedelta(seconds=policy.connect_timeout_s),
    }


def _retries(policy: RetryPolicy) -> "RetryConfig":
    """Return how often single requests are repeated: an upload in parts must not begin anew for one of them."""
    first, longest = policy.waits()
    return {
        "max_retries": policy.attempts - 1,
        "backoff": {"init_backoff": first, "max_backoff": longest},
        "retry_timeout": longest * policy.attempts,
    }
