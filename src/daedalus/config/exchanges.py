"""Settings of the sources: the native Coinbase collector and the exchanges that CCXT Pro can watch."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from daedalus.config.base import DirectoryName, Number, Section, Text, WholeNumber, check_unique, check_url, rule


def _coinbase_symbol(value: str) -> str:
    spelling = "-".join(re.findall(r"[A-Z0-9]+", value.upper()))
    if value != spelling:
        raise rule(f"{value!r} is not how Coinbase spells a product; try {spelling or 'BTC-USD'}")
    return value


Channel = Literal["ticker", "trades", "l2", "orderbook", "frames"]
CcxtChannel = Literal["ticker", "trades", "orderbook", "l2", "frames"]
CcxtMethod = Literal[
    "watchTicker",
    "watchTickers",
    "watchTrades",
    "watchTradesForSymbols",
    "watchOrderBook",
    "watchOrderBookForSymbols",
    "watchBidsAsks",
]
Watched = Literal["orderbook", "trades", "ticker"]
StallSeconds = Annotated[Number, Field(ge=1, le=86_400)]
Symbol = Annotated[str, Field(min_length=1, max_length=64)]
CoinbaseSymbol = Annotated[Symbol, AfterValidator(_coinbase_symbol)]
_KEY_BEGINS = ("-----BEGIN EC PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----")

_DEPTH = "Levels a side of the `orderbook` snapshots, best first."
_INTERVAL = "At most one `orderbook` snapshot a market in this many milliseconds; 0 records every update."


class StallTimeouts(Section):
    """How long a channel of one market may say nothing, while its connection lives, before it is asked for anew.

    The answer tells a quiet market from a stall, and only what was missed is entered in the gap ledger. A quiet market
    is given twice the time from then on, up to an hour.
    """

    orderbook: Number | None = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="Seconds without a change of a book (orderbook and l2); null waits for ever.",
    )
    trades: Number | None = Field(
        default=300.0, ge=1, le=86_400, description="Seconds without a trade; null waits for ever."
    )
    ticker: Number | None = Field(
        default=300.0, ge=1, le=86_400, description="Seconds without a ticker; null waits for ever."
    )


class CoinbaseConfig(Section):
    """Coinbase Advanced Trade. Market data needs no keys."""

    symbols: list[CoinbaseSymbol] = Field(
        default=[],
        max_length=1000,
        examples=[["BTC-USD"]],
        description="Products to record, as Coinbase spells them. Empty records nothing from Coinbase.",
    )
    channels: list[Channel] = Field(
        default=["ticker", "trades", "l2", "orderbook"],
        min_length=1,
        description=(
            "What to record. ticker: best quotes and 24 h statistics. trades: executions. l2: every change of every"
            " price level, from which any book can be rebuilt. orderbook: snapshots of the top levels. frames: all text"
            " exactly as received."
        ),
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="Name of an API key (organizations/.../apiKeys/...); optional, set together with api_secret.",
    )
    api_secret: SecretStr | None = Field(
        default=None,
        description=(
            "The API key's EC private key (ES256) in PEM form, as a block (`api_secret: |`) or on one line with \\n"
            " for the line ends. Better set as DAEDALUS__COINBASE__API_SECRET."
        ),
    )
    ws_url: Text = Field(
        default="wss://advanced-trade-ws.coinbase.com",
        description="Where to connect. Must be wss:// unless it is this machine (the sandbox).",
    )
    exchange: DirectoryName = Field(
        default="coinbase", description="Name of the exchange in paths (exchange=...) and in the data."
    )
    max_orderbook_depth: WholeNumber = Field(default=20, ge=1, le=10_000, description=_DEPTH)
    orderbook_interval_ms: WholeNumber = Field(default=1000, ge=0, le=3_600_000, description=_INTERVAL)
    symbols_per_connection: WholeNumber = Field(
        default=10,
        ge=1,
        le=100,
        description="Products that share one connection. A sequence gap taints all of them, so keep it small.",
    )
    stall_timeout_seconds: Number = Field(
        default=15.0,
        ge=0.1,
        le=3600,
        description="Seconds of silence after which a connection counts as dead; heartbeats come every second.",
    )
    stall_timeouts: StallTimeouts = Field(
        default=StallTimeouts(),
        description=(
            "Silence of one product's channel, while its connection lives, after which it is asked for anew; the others"
            " go on. A market that was merely quiet is given twice the time from then on, up to an hour."
        ),
    )
    reconnect_delay_seconds: Number = Field(
        default=1.0,
        ge=0.01,
        le=3600,
        description="Seconds before the first attempt to connect again; doubles, with jitter, at each further one.",
    )
    reconnect_delay_max_seconds: Number = Field(
        default=60.0, ge=0.01, le=3600, description="Longest wait in seconds between two attempts, which never end."
    )
    max_frame_mb: WholeNumber = Field(
        default=64,
        ge=1,
        le=1024,
        description="Largest websocket frame to accept, MiB. A full BTC-USD book is about 5.",
    )
    subscribe_timeout_seconds: Number = Field(
        default=10.0,
        ge=0.1,
        le=300,
        description="Seconds to wait for the exchange to confirm the subscriptions.",
    )
    rotate_after_hours: Number | None = Field(
        default=None,
        ge=0,
        le=168,
        description=(
            "Hours after which a connection is replaced without a gap: the new one first, then the old one closes. null"
            " is what the exchange needs, here never; 0 is never."
        ),
    )

    @field_validator("symbols", "channels")
    @classmethod
    def _check_list(cls, values: list[str]) -> list[str]:
        check_unique(values)
        return values

    @field_validator("ws_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return check_url(value, "wss", "ws")

    @field_validator("api_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        pem = value.get_secret_value().replace("\\n", "\n").strip()
        if not pem.startswith(_KEY_BEGINS) or "-----END" not in pem:
            raise rule("is not an EC private key in PEM form (-----BEGIN EC PRIVATE KEY----- ...): choose ES256 keys")
        return SecretStr(pem + "\n")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.api_key is None) != (self.api_secret is None):
            raise rule("api_key and api_secret belong together: set both or neither", "api_key", "api_secret")
        if self.reconnect_delay_max_seconds < self.reconnect_delay_seconds:
            raise rule(
                f"reconnect_delay_max_seconds ({self.reconnect_delay_max_seconds:g}) must not be below"
                f" reconnect_delay_seconds ({self.reconnect_delay_seconds:g})",
                "reconnect_delay_max_seconds",
                "reconnect_delay_seconds",
            )
        return self


class CcxtExchangeConfig(Section):
    """One exchange, named by its CCXT id. Market data seldom needs keys."""

    api_key: SecretStr | None = Field(default=None, description="API key, where the exchange wants one.")
    api_secret: SecretStr | None = Field(default=None, description="API secret.")
    password: SecretStr | None = Field(default=None, description="Passphrase of the key, where there is one.")
    channels: dict[CcxtMethod, list[Symbol]] = Field(
        default={},
        examples=[{"watchTrades": ["BTC/USD"], "watchOrderBook": ["BTC/USD"]}],
        description=(
            "What to watch: CCXT Pro method names, each with its symbols as CCXT spells them. '*' and '?' pick from the"
            " exchange's markets: ['*/USD']."
        ),
    )
    record: list[CcxtChannel] = Field(
        default=["ticker", "trades", "orderbook"],
        min_length=1,
        description=(
            "What to write of it. ticker: quotes and 24 h statistics. trades: executions. orderbook: snapshots of the"
            " top levels. l2: every change of every price level that CCXT's book keeps. frames: all text exactly as"
            " received; alone it costs the least."
        ),
    )
    exchange: DirectoryName | None = Field(
        default=None, description="Name of the exchange in paths (exchange=...) and in the data; null is the CCXT id."
    )
    options: dict[str, object] = Field(
        default={}, repr=False, description="CCXT's own options of the exchange, passed on as they are."
    )
    max_orderbook_depth: WholeNumber = Field(default=20, ge=1, le=10_000, description=_DEPTH)
    orderbook_interval_ms: WholeNumber = Field(default=1000, ge=0, le=3_600_000, description=_INTERVAL)
    stall_timeout_seconds: Number = Field(
        default=120.0,
        ge=0.1,
        le=3600,
        description="Seconds without any message after which a connection counts as dead.",
    )
    stall_timeouts: dict[Watched, StallSeconds | None] = Field(
        default={},
        examples=[{"orderbook": 30.0}],
        description=(
            "Silence of one market's channel (orderbook, trades, ticker), while its connection lives, after which it is"
            " asked for anew; the others go on. null waits for ever; what is not named is the exchange's own:"
            " docs/INTEGRITY.md. A market that was merely quiet is given twice the time from then on, up to an hour."
        ),
    )
    subscribe_timeout_seconds: Number = Field(
        default=20.0,
        ge=0.1,
        le=300,
        description="Seconds to wait for what the exchange was asked to send anew; doubles with each further try.",
    )
    max_frame_mb: WholeNumber = Field(default=64, ge=1, le=1024, description="Largest websocket frame to accept, MiB.")
    ws_url: Text | None = Field(
        default=None,
        description=(
            "Scheme and host to take the place of CCXT's for websockets, whose paths stay. Must be wss:// unless it is"
            " this machine (the sandbox)."
        ),
    )
    rest_url: Text | None = Field(
        default=None, description="The same for requests by HTTP. Must be https:// unless it is this machine."
    )
    rotate_after_hours: Number | None = Field(
        default=None,
        ge=0,
        le=168,
        description=(
            "Hours after which a connection is replaced without a gap: the new one first, then the old one closes. null"
            " is what the exchange needs: 23 for those that cut after 24 (Binance, MEXC, Aster), never for others; 0 is"
            " never."
        ),
    )

    @field_validator("record")
    @classmethod
    def _check_list(cls, values: list[str]) -> list[str]:
        check_unique(values)
        return values

    @field_validator("ws_url")
    @classmethod
    def _check_ws_url(cls, value: str | None) -> str | None:
        return None if value is None else check_url(value, "wss", "ws")

    @field_validator("rest_url")
    @classmethod
    def _check_rest_url(cls, value: str | None) -> str | None:
        return None if value is None else check_url(value, "https", "http")


class CcxtConfig(Section):
    """Exchanges through CCXT Pro: any that it can watch, by configuration alone."""

    exchanges: dict[DirectoryName, CcxtExchangeConfig] = Field(
        default={},
        description="One entry an exchange, under its CCXT id. coinbaseadvanced is another name of coinbase.",
    )

    @field_validator("exchanges")
    @classmethod
    def _check_names(cls, values: dict[str, CcxtExchangeConfig]) -> dict[str, CcxtExchangeConfig]:
        check_unique([entry.exchange or name for name, entry in values.items()])
        return values
