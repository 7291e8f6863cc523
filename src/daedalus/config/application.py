"""The whole of the settings, and the section of the logs."""

from typing import Literal

from pydantic import Field, PrivateAttr, field_validator

from daedalus.config.base import Section, Text
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
