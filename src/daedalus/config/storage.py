"""Settings of where bytes live: recordings, what the ETL reads and writes, sync, and the names of the tiers."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, model_validator

from daedalus.config.base import Directory, DirectoryName, Number, Section, Text, WholeNumber, check_url, rule

Backend = Literal["local", "s3", "gcs", "azure", "memory"]
_ENDPOINT = "Must be https:// unless it is this machine, or allow_http is set."
_PREFIX = "Put before every key; empty for none."
_ALLOW_HTTP = (
    "Allow http:// to other machines, where keys and data can be read on the way: only in a network that you trust."
)


def _prefix(value: str) -> str:
    if value.startswith("/") or "//" in value or ".." in value.split("/"):
        raise rule("must be a relative key such as lake/pi-4, without empty parts and `..`")
    return value.rstrip("/")


def _endpoint(value: str, info: ValidationInfo) -> str:
    advice = ", unless allow_http is set beside it"
    return check_url(value, "https", "http", anywhere=bool(info.data.get("allow_http")), advice=advice)


Prefix = Annotated[str, Field(max_length=512), AfterValidator(_prefix)]
Endpoint = Annotated[Text, AfterValidator(_endpoint)]


class S3Config(Section):
    """A bucket of S3 or of a compatible store. Used when the backend is s3."""

    bucket: Text | None = Field(default=None, description="Name of the bucket.")
    prefix: Prefix = Field(default="", description=_PREFIX)
    allow_http: bool = Field(default=False, description=_ALLOW_HTTP)
    endpoint_url: Endpoint | None = Field(
        default=None, description=f"Address of a compatible store; null means AWS. {_ENDPOINT}"
    )
    region: Text | None = Field(default=None, description="Region of the bucket; null leaves it to the environment.")
    access_key_id: SecretStr | None = Field(
        default=None, description="Access key; null uses the standard AWS environment variables or the instance's role."
    )
    secret_access_key: SecretStr | None = Field(default=None, description="Secret of the access key.")
    session_token: SecretStr | None = Field(default=None, description="Token of temporary credentials.")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise rule(
                "access_key_id and secret_access_key belong together: set both or neither",
                "access_key_id",
                "secret_access_key",
            )
        return self


class GcsConfig(Section):
    """A bucket of Google Cloud Storage. Used when the backend is gcs."""

    bucket: Text | None = Field(default=None, description="Name of the bucket.")
    prefix: Prefix = Field(default="", description=_PREFIX)
    allow_http: bool = Field(default=False, description=_ALLOW_HTTP)
    endpoint_url: Endpoint | None = Field(
        default=None, description=f"Address of an emulator, used without credentials; null means Google. {_ENDPOINT}"
    )
    service_account_file: Text | None = Field(
        default=None,
        description=(
            "JSON key file of a service account; null uses GOOGLE_APPLICATION_CREDENTIALS or the machine's account."
        ),
    )


class AzureConfig(Section):
    """A container of Azure Blob Storage. Used when the backend is azure."""

    container: Text | None = Field(default=None, description="Name of the container.")
    prefix: Prefix = Field(default="", description=_PREFIX)
    allow_http: bool = Field(default=False, description=_ALLOW_HTTP)
    endpoint_url: Endpoint | None = Field(
        default=None, description=f"Address of another cloud or an emulator; null means Azure. {_ENDPOINT}"
    )
    account_name: Text | None = Field(
        default=None, description="The storage account; null uses AZURE_STORAGE_ACCOUNT_NAME."
    )
    account_key: SecretStr | None = Field(
        default=None, description="Its key; null uses Azure's environment variables or the machine's managed identity."
    )
    sas_token: SecretStr | None = Field(default=None, description="A shared access signature in place of the key.")

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.account_key is not None and self.sas_token is not None:
            raise rule("account_key and sas_token exclude each other: set one", "account_key", "sas_token")
        return self


class StoreConfig(Section):
    """One place for files."""

    backend: Backend = Field(
        default="local",
        description="Kind of store. memory is empty at every start and for trials. Recordings are always local.",
    )
    base_dir: Directory | None = Field(default=None, description="Directory, local only; null means storage.base_dir.")
    s3: S3Config = Field(default=S3Config(), description="The bucket, when backend is s3.")
    gcs: GcsConfig = Field(default=GcsConfig(), description="The bucket, when backend is gcs.")
    azure: AzureConfig = Field(default=AzureConfig(), description="The container, when backend is azure.")

    @model_validator(mode="after")
    def _check_bucket(self) -> Self:
        needed = {"s3": self.s3.bucket, "gcs": self.gcs.bucket, "azure": self.azure.container}
        if self.backend in needed and needed[self.backend] is None:
            name = "container" if self.backend == "azure" else "bucket"
            raise rule(f"backend {self.backend} needs {self.backend}.{name}", "backend")
        return self


class RequestsConfig(Section):
    """How patiently object stores are asked."""

    attempts: WholeNumber = Field(
        default=5, ge=1, le=100, description="How often a request is made at most while the store fails or is busy."
    )
    wait_seconds_max: Number = Field(
        default=15.0, ge=0.1, le=600, description="Longest wait in seconds between two attempts; it starts at 0.5."
    )
    timeout_seconds: Number = Field(
        default=300.0,
        ge=1,
        le=86_400,
        description="Seconds that one request may take; up to 64 MiB must go up in that time.",
    )
    connect_timeout_seconds: Number = Field(
        default=10.0, ge=0.1, le=600, description="Seconds that connecting to the store may take."
    )


class SyncConfig(Section):
    """What `daedalus sync` copies where."""

    source: StoreConfig = Field(default=StoreConfig(), description="The lake here; a local directory.")
    destination: StoreConfig = Field(default=StoreConfig(), description="The other store.")
    interval_seconds: Number = Field(
        default=300.0, ge=1, le=86_400, description="Seconds between two runs of a continuous sync."
    )
    paths: list[Text] = Field(
        default=[],
        max_length=100,
        description="Folders of the lake to sync, such as raw/ready/coinbase; empty means recordings, processed/,"
        " raw/imports/ and manifests/.",
    )
    include_raw: bool = Field(default=True, description="Whether recordings are synced when paths is empty.")
    max_workers: WholeNumber = Field(default=8, ge=1, le=64, description="Transfers at once.")
    bandwidth_mb_per_second: Number | None = Field(
        default=None, ge=0.001, le=100_000, description="Limit of all transfers together, MB (10^6 bytes) a second."
    )
    trust_ledger: bool = Field(
        default=False,
        description="Take the ledger's word for what the store holds, so that a run that has nothing new asks nothing.",
    )
    compact_before_upload: bool = Field(
        default=False, description="Merge small segments of hours that are over before each run, as daedalus compact."
    )
    delete_after_transfer: bool = Field(
        default=False, description="Remove local files when the store was found to hold them."
    )
    keep_local_hours: Number = Field(
        default=24.0, ge=0, le=1_000_000, description="Hours since its last change that a local file stays at least."
    )


class RetentionConfig(Section):
    """What may be removed when the disk budget is spent."""

    delete_unsynced: bool = Field(
        default=False,
        description=(
            "Also remove the oldest segments that exist nowhere else. false removes only those whose uploaded copy was"
            " verified, and says so when that is not enough."
        ),
    )


class PathsConfig(Section):
    """Names inside the stores, and the directory of carried state."""

    tier_raw: DirectoryName = Field(
        default="raw",
        description="Directory of bronze: {tier_raw}/ready/{source}/{channel}/exchange=.../symbol=.../...",
    )
    tier_features: DirectoryName = Field(
        default="silver",
        description="Directory of features: processed/{source}/{channel}/{tier_features}/..., one channel a table.",
    )
    tier_aggregates: DirectoryName = Field(
        default="gold", description="Directory of bars: processed/{source}/bars/{tier_aggregates}/..."
    )
    state_dir: Directory = Field(
        default="temp/state", description="Directory of the state that features carry from run to run; always local."
    )


class StorageConfig(Section):
    """Where files live. Relative directories are relative to where the command is started."""

    base_dir: Directory = Field(default="data", description="Directory of the lake, for every store that names none.")
    max_disk_gb: Number | None = Field(
        default=None,
        ge=0.001,
        le=1_000_000,
        description="Disk budget of recorded segments, GB (10^9 bytes); null for none. The oldest are removed first.",
    )
    min_free_gb: Number | None = Field(
        default=None,
        ge=0.001,
        le=1_000_000,
        description="Room to leave on the recorder's disk, GB (10^9 bytes); null for none.",
    )
    retention: RetentionConfig = Field(
        default=RetentionConfig(), description="What may be removed when the disk budget is spent."
    )
    ingestion_storage: StoreConfig = Field(default=StoreConfig(), description="Where recordings are written.")
    etl_storage_input: StoreConfig = Field(default=StoreConfig(), description="Where the ETL reads bronze.")
    etl_storage_output: StoreConfig = Field(default=StoreConfig(), description="Where the ETL writes silver and gold.")
    requests: RequestsConfig = Field(
        default=RequestsConfig(), description="How patiently object stores are asked, for all of them."
    )
    sync: SyncConfig = Field(default=SyncConfig(), description="What `daedalus sync` copies where.")
    paths: PathsConfig = Field(default=PathsConfig(), description="Names of the tiers, and the state directory.")
