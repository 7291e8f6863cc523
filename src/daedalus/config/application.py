"""The whole of the settings, and the section of the logs."""

from typing import Literal

from pydantic import Field, PrivateAttr, field_validator

from daedalus.config.base import Number, Section, Text, WholeNumber
from daedalus.config.etl import EtlConfig
from daedalus.config.exchanges import CcxtConfig, CoinbaseConfig
from daedalus.config.ingestion import IngestionConfig
from daedalus.config.origins import Origins
from daedalus.config.storage import StorageConfig


class LoggingConfig(Section):
    """What Daedalus says about its own work, on stderr and in a file."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severity of the lines that are written."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="console: for people. json: one object a line, for machines."
    )
    file: Text | None = Field(
        default=None, description="Also write the lines to this file, which is rotated: 5 files of 10 MB at most."
    )

    @field_validator("level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


class MetricsConfig(Section):
    """What a recorder tells about itself while it runs."""

    host: Text = Field(
        default="127.0.0.1",
        description="Address that metrics and health checks are served on. Anybody who reaches it can read them.",
    )
    port: WholeNumber | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Port of /metrics, /healthz and /readyz, such as 9464; null serves nothing. See docs/METRICS.md.",
    )
    status_interval_seconds: Number = Field(
        default=5.0,
        ge=0.1,
        le=60,
        description="Seconds between two writes of the file that `daedalus status` reads.",
    )


class DaedalusConfig(Section):
    """All settings. Defaults alone are valid; they record nothing, because no market is chosen."""

    coinbase: CoinbaseConfig = Field(
        default=CoinbaseConfig(), description="Coinbase Advanced Trade. Market data needs no keys."
    )
    ccxt: CcxtConfig = Field(
        default=CcxtConfig(),
        description="Exchanges through CCXT Pro, recorded with `--sources ccxt`. See docs/INTEGRITY.md.",
    )
    storage: StorageConfig = Field(
        default=StorageConfig(),
        description="Where files live. Relative directories are relative to where the command is started.",
    )
    ingestion: IngestionConfig = Field(
        default=IngestionConfig(), description="Recording: from the collectors through the queue to segments on disk."
    )
    etl: EtlConfig = Field(default=EtlConfig(), description="Bronze to silver (features) to gold (bars).")
    metrics: MetricsConfig = Field(
        default=MetricsConfig(), description="What a recorder tells about itself while it runs."
    )
    logging: LoggingConfig = Field(default=LoggingConfig(), description="What Daedalus says about its own work.")

    _origins: Origins = PrivateAttr(default_factory=Origins)

    @property
    def origins(self) -> Origins:
        """Where the values come from: the file, if any, and the place of each key that was set."""
        return self._origins

    def with_origins(self, origins: Origins) -> "DaedalusConfig":
        """Return a copy that knows where its values come from."""
        copy = self.model_copy()
        copy._origins = origins
        return copy
