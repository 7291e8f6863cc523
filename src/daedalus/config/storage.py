"""Settings of where bytes live: recordings, what the ETL reads and writes, sync, and the names of the tiers."""

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from daedalus.config.base import Directory, DirectoryName, Number, Section, Text, check_url, rule

Backend = Literal["local", "s3"]


class S3Config(Section):
    """A bucket of S3 or of a compatible store. Used when the backend is s3."""

    bucket: Text | None = Field(default=None, description="Name of the bucket.")
    prefix: str = Field(default="", max_length=512, description="Put before every key; empty for none.")
    endpoint_url: Text | None = Field(
        default=None,
        description="Address of a compatible store; null means AWS. Must be https:// unless it is this machine.",
    )
    region: Text | None = Field(default=None, description="Region of the bucket; null leaves it to the environment.")
    access_key_id: SecretStr | None = Field(
        default=None, description="Access key; null uses the standard AWS environment variables or the instance's role."
    )
    secret_access_key: SecretStr | None = Field(default=None, description="Secret of the access key.")
    session_token: SecretStr | None = Field(default=None, description="Token of temporary credentials.")

    @field_validator("endpoint_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        return None if value is None else check_url(value, "https", "http")

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        if value.startswith("/") or "//" in value or ".." in value.split("/"):
            raise rule("must be a relative key such as lake/pi-4, without empty parts and `..`")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise rule(
                "access_key_id and secret_access_key belong together: set both or neither",
                "access_key_id",
                "secret_access_key",
            )
        return self


class StoreConfig(Section):
    """One place for files."""

    backend: Backend = Field(
        default="local", description="Kind of store. This version runs on local disks; s3 comes with a later one."
    )
    base_dir: Directory | None = Field(default=None, description="Directory, local only; null means storage.base_dir.")
    s3: S3Config = Field(default=S3Config(), description="The bucket, when backend is s3.")

    @model_validator(mode="after")
    def _check_bucket(self) -> Self:
        if self.backend == "s3" and self.s3.bucket is None:
            raise rule("backend s3 needs s3.bucket", "backend")
        return self


class SyncConfig(Section):
    """What is copied where. Checked and kept, but not used yet: sync comes with a later version."""

    source: StoreConfig = Field(default=StoreConfig(), description="Copied from here.")
    destination: StoreConfig = Field(default=StoreConfig(), description="Copied to here.")


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
        default="silver", description="Directory of features: processed/{source}/orderbook/{tier_features}/..."
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
    sync: SyncConfig = Field(default=SyncConfig(), description="What is copied where (not used yet).")
    paths: PathsConfig = Field(default=PathsConfig(), description="Names of the tiers, and the state directory.")
