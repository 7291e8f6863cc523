"""One connection to Coinbase: what was asked of the exchange, what it answered, and sending at its pace."""

import asyncio
import re
import secrets
from typing import Literal

import aiohttp
import msgspec
import structlog

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.coinbase_messages import FEEDS, LEVEL2
from daedalus.ingestion.collectors.coinbase_parser import CoinbaseParser
from daedalus.ingestion.collectors.coinbase_settings import Carried, Settings
from daedalus.ingestion.collectors.pace import HostPace
from daedalus.ingestion.collectors.upkeep import Upkeep
from daedalus.shared.clock import NS_PER_SECOND, Clock, SystemClock
from daedalus.shared.errors import RefusedError, TransientCollectorError
from daedalus.shared.events import ALL, Event, Frame

log = structlog.get_logger(__name__)

#: Bound of messages waiting to be sent: two per product and channel.
OUTBOX_MAX = 1024
JWT_LIFE_S = 120
#: How often answers and silence are looked for, unless something has happened.
LOOK_NS = NS_PER_SECOND // 20
#: How an error frame says that too much was asked, and how long the whole address then asks nothing.
TOO_MUCH, TOO_MUCH_S = re.compile(r"rate.?limit|too many|throttl", re.IGNORECASE), 10.0
#: How one says that the credentials are wrong.
NOT_YOU = re.compile(r"authent|unauthori|jwt|api.?key|signature", re.IGNORECASE)


class Session:
    """The life of one connection.

    Parameters
    ----------
    ws
        Open; one token for a message was taken with it.
    """

    def __init__(
        self, settings: Settings, carried: Carried, ws: aiohttp.ClientWebSocketResponse, pace: HostPace, clock: Clock
    ) -> None:
        self._settings, self._carried, self._ws, self._pace, self._clock = settings, carried, ws, pace, clock
        self._id = secrets.token_hex(4)
        self._record_frames = "frames" in settings.channels
        self._sent: list[Event] = []
        self._outbox: asyncio.Queue[tuple[str, str, tuple[str, ...]]] = asyncio.Queue(OUTBOX_MAX)
        symbols = tuple(s for s in settings.symbols if s not in carried.refused)
        self.parser = CoinbaseParser(
            exchange=settings.exchange,
            symbols=symbols,
            channels=settings.channels,
            depth=settings.depth,
            interval_ms=settings.interval_ms,
            carried=carried,
        )
        wires = sorted(wire for wire, fed in FEEDS.items() if set(fed) & set(settings.channels)) or sorted(FEEDS)
        self._wires = frozenset(wires)
        self._unanswered = {(wire, s) for wire in wires for s in symbols}
        self._first = dict.fromkeys(wires, symbols)
        self._alone, self._errors = False, carried.counters.errors
        self._asked_at, self._looked_ns = clock.monotonic(), 0
        self._upkeep = Upkeep(
            exchange=settings.exchange,
            taker=self.parser,
            watchdog=carried.watchdog,
            streams=[(s, wire) for wire in wires for s in symbols],
            book=LEVEL2,
            ask=self._ask_anew,
            unanswered=self._stalled,
            answer_s=settings.subscribe_s,
            clock=clock,
        )
        carried.skew.reset()
        # Heartbeats need no product: a refused one must not take them along.
        self._ask("subscribe", "heartbeats", ())
        for wire in wires:
            self._ask("subscribe", wire, tuple(sorted(symbols)))

    def on_frame(self, text: str, now: int) -> list[Event]:
        """Return the events of a frame, and see to what it makes necessary."""
        carried, parser = self._carried, self.parser
        errors = carried.counters.errors
        events = parser.feed(text, now)
        if self._record_frames:
            events = [*self._sent, self._frame(text, "in", now), *events]
            self._sent.clear()
            if carried.gaps:
                events += carried.gaps.close([(ALL, "frames")], now)
        has_complained = carried.counters.errors > errors
        if has_complained:
            self._check_complaint()
        if has_complained or parser.resync or carried.wanted or not 0 <= now - self._looked_ns < LOOK_NS:
            self._looked_ns = now
            events += self._look(now)
        return events

    def _look(self, now: int) -> list[Event]:
        """See what the exchange has answered and what it owes; return the ledger's rows."""
        if self._unanswered:
            self._check_answers()
        if self._carried.wanted:
            self.parser.resync |= self._carried.wanted - self._carried.refused if LEVEL2 in self._wires else set()
            self._carried.wanted.clear()
        return self._upkeep.tick(now)

    def _stalled(self, stream: Stream, since: int, tries: int, now: int) -> list[Event]:
        """Enter that a stream was asked for and has not come."""
        symbol, wire = stream
        detail = f"{wire} of {symbol} fell silent while the connection lives"
        if wire == LEVEL2:
            return self.parser.lose_books([symbol], since, now, "stall", None, detail)
        streams = [(symbol, c) for c in FEEDS[wire] if c in self._settings.channels]
        return list(self._carried.gaps.open(streams, since=since, now=now, reason="stall", detail=detail))

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _check_complaint(self) -> None:
        """Tell "too much" and "not you" from "not that": the products are not to blame for them."""
        said, exchange = self.parser.refusal, self._settings.exchange
        if TOO_MUCH.search(said):
            self._unanswered.clear()
            self._pace.hold(TOO_MUCH_S)
            raise TransientCollectorError(
                f"{exchange} limits this address, waiting {TOO_MUCH_S:g} s; it said: {said}", retry_after=TOO_MUCH_S
            )
        if self._settings.key and NOT_YOU.search(said):
            raise RefusedError(
                f"{exchange} refused the credentials; it said: {said}. Correct coinbase.api_key and api_secret, or "
                "leave them out: market data needs none"
            )

    def _check_answers(self) -> None:
        """Name the products that the exchange does not take, without letting them take the others along."""
        subscribed = self.parser.subscribed
        self._unanswered = {
            (wire, s) for wire, s in self._unanswered if not {s, s.removesuffix("C")} & subscribed.get(wire, set())
        }
        if not self._unanswered:
            return
        if self._carried.counters.errors > self._errors and not self._alone:
            # One bad product refuses the whole message: ask for each by itself.
            self._alone, self._asked_at = True, self._clock.monotonic()
            for wire, symbol in sorted(self._unanswered):
                self._ask("subscribe", wire, (symbol,))
        if self._outbox.empty() and self._clock.monotonic() - self._asked_at > self._settings.subscribe_s:
            self._refuse({symbol for _, symbol in self._unanswered})

    def on_end(self) -> None:
        """Tell a refusal from a lost connection: an exchange may answer with an error and then stay silent or close."""
        if self._unanswered and self._carried.counters.errors > self._errors and not self.parser.subscribed:
            self._refuse({symbol for _, symbol in self._unanswered})

    def _refuse(self, symbols: set[str]) -> None:
        self._unanswered.clear()
        said, exchange = self.parser.refusal or "nothing", self._settings.exchange
        self._carried.refused |= symbols
        self._upkeep.forget((s, wire) for s in symbols for wire in self._wires)
        for symbol in sorted(symbols):
            log.error("symbol_refused", exchange=exchange, symbol=symbol, exchange_said=said, action="left out")
        if self._carried.refused >= set(self._settings.symbols):
            names = ", ".join(sorted(symbols))
            raise RefusedError(
                f"{exchange} refused every symbol of this connection ({names}); it said: {said}. "
                "Correct coinbase.symbols in the configuration"
            )

    # -- sending ------------------------------------------------------------------------------------------------------

    def _ask(self, verb: str, channel: str, products: tuple[str, ...]) -> None:
        try:
            self._outbox.put_nowait((verb, channel, products))
        except asyncio.QueueFull:
            raise TransientCollectorError(f"{OUTBOX_MAX} messages wait to be sent") from None

    def _ask_anew(self, channel: str, products: tuple[str, ...]) -> None:
        self._ask("unsubscribe", channel, products)
        self._ask("subscribe", channel, products)

    async def send_all(self) -> None:
        """Send what was asked for, at the exchange's pace. The first message has its token already."""
        is_first = True
        while True:
            verb, channel, products = await self._outbox.get()
            if not is_first:
                await self._pace.messages.take()
            is_first = False
            message: dict[str, object] = {"type": verb, "channel": channel, "product_ids": products}
            text = msgspec.json.encode(message).decode()
            if self._record_frames:
                self._sent.append(self._frame(text, "out", self._clock.now_ns()))
            if self._settings.key and self._settings.secret:
                text = msgspec.json.encode(
                    {**message, "jwt": sign_token(self._settings.key, self._settings.secret)}
                ).decode()
            await self._ws.send_str(text)
            self._note_sent(verb, channel)

    def _note_sent(self, verb: str, channel: str) -> None:
        if verb == "subscribe":
            self._asked_at = self._clock.monotonic()
            self._upkeep.subscribed(channel, self._first.pop(channel, ()))

    def _frame(self, text: str, direction: Literal["in", "out"], now: int) -> Frame:
        return Frame(
            collected_at=now,
            exchange=self._settings.exchange,
            symbol=ALL,
            connection_id=self._id,
            direction=direction,
            frame=text,
        )


def sign_token(key: str, secret: str) -> str:
    """Sign a fresh token: ES256, issuer cdp, two minutes of life, a nonce. Raises `RefusedError` if the key cannot."""
    import jwt

    now = SystemClock().now_ns() // NS_PER_SECOND
    claims = {"iss": "cdp", "sub": key, "nbf": now, "exp": now + JWT_LIFE_S}
    try:
        return jwt.encode(claims, secret, algorithm="ES256", headers={"kid": key, "nonce": secrets.token_hex(16)})
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        # The cause may quote the key.
        raise RefusedError(
            f"coinbase.api_secret cannot sign ({type(error).__name__}): it has to be an EC private key (ES256) in PEM"
        ) from None
