"""One connection's life through CCXT: from loading the markets to the end of its first socket.

Imports CCXT: import this module only where it is needed.
"""

import asyncio
import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import structlog
from ccxt.base.errors import AuthenticationError

from daedalus.ingestion.collectors.base import Stream
from daedalus.ingestion.collectors.ccxt_asking import Asking
from daedalus.ingestion.collectors.ccxt_client import (
    LOADING,
    ConnectionOverError,
    TapClient,
    close_all,
    silent,
    text_of,
)
from daedalus.ingestion.collectors.ccxt_client_books import cut_books, rewrite_books
from daedalus.ingestion.collectors.ccxt_errors import BANS, Redactor, translate
from daedalus.ingestion.collectors.ccxt_exchange import NO_HOOKS, TapExchange, make_exchange
from daedalus.ingestion.collectors.ccxt_markets import Call, Plan, plan_calls
from daedalus.ingestion.collectors.ccxt_names import MarketNames
from daedalus.ingestion.collectors.ccxt_opening import Opening, socket_id
from daedalus.ingestion.collectors.ccxt_reactions import Reactions
from daedalus.ingestion.collectors.ccxt_recording import FrameRecording
from daedalus.ingestion.collectors.ccxt_report import report
from daedalus.ingestion.collectors.ccxt_sequence import REPEATED
from daedalus.ingestion.collectors.ccxt_settings import FEEDS, Carried, Settings
from daedalus.ingestion.collectors.ccxt_subscriptions import Subscriptions
from daedalus.ingestion.collectors.ccxt_tap import Tap
from daedalus.ingestion.collectors.ccxt_venues import venue_of
from daedalus.ingestion.collectors.pace import HostPace
from daedalus.ingestion.collectors.upkeep import Upkeep
from daedalus.shared.clock import Clock
from daedalus.shared.errors import CollectorError, MalformedError, TransientCollectorError
from daedalus.shared.events import ALL
from daedalus.shared.tasks import end_tasks

log = structlog.get_logger(__name__)

#: Markets are loaded again, at the next connection, when they are older.
MARKETS_AGE_MAX_S = 86_400.0
#: The longest text that is no JSON and yet no fault: "pong" and the like.
CONTROL_MAX = 64
#: How long an orderly close may take.
CLOSE_S = 2.0


class Session:
    """Hooks of CCXT's client (`ccxt_client.Hooks`), and what follows from what they see.

    Parameters
    ----------
    settings, carried
        What was asked for, and what is known from earlier connections.
    pace
        Of the exchange's host, for all connections to it.
    tap
        What is put before the exchange's class of CCXT.

    Attributes
    ----------
    id
        Begins the names of its connections in `frames`.
    tap
        Where events come out.
    plan
        What is watched; set by `open`.
    asking, react
        Has streams sent again; what follows from losses.
    failure
        Why it is over; None while it goes on.
    """

    def __init__(
        self, settings: Settings, carried: Carried, clock: Clock, pace: HostPace, tap: type[TapExchange] = TapExchange
    ) -> None:
        self.id = secrets.token_hex(4)
        self._settings, self._carried, self._clock, self._pace = settings, carried, clock, pace
        self.failure: CollectorError | None = None
        self.plan = Plan()
        self.max_frame_bytes, self.has_l2 = settings.max_frame_bytes, "l2" in settings.record
        self._venue = venue_of(settings.exchange_id)
        self._redact = Redactor(settings.config.get(name) for name in ("apiKey", "secret", "password"))
        self.tap = Tap(
            settings,
            carried,
            self._venue,
            clock,
            on_broken=lambda *what: self.react.broken(*what),
            on_fresh=lambda symbol: self.react.fresh(symbol),
        )
        self.buffer, self._count = self.tap.buffer, carried.counters
        self._recording = FrameRecording(self.id, self.tap, clock, self._redact, is_on="frames" in settings.record)
        self._frames_only = set(settings.record) == {"frames"}
        self.clients: list[TapClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = self._was_silent = self.is_handling = False
        self._names = MarketNames()
        self.exchange = make_exchange(settings, self, self._venue.plain_deltas, tap)
        self.exchange.ssl_context = getattr(carried.source, "ssl_context", None)  # Another one takes 40 ms and 0.7 MB.
        self._subscriptions = Subscriptions(
            exchange=self.exchange,
            clients=self.clients,
            settings=settings,
            carried=carried,
            venue=self._venue,
            pace=pace.messages,
            clock=clock,
            redact=self._redact,
            on_error=self._ends,
            on_refused=self._fail,
            on_left_out=self._forget,
        )
        self.asking = Asking(
            exchange=self.exchange,
            clients=self.clients,
            start=self._subscriptions.start,
            is_missing=self.tap.is_missing,
            on_book=self._recording.asks,
            venue=self._venue,
            depth=self._venue.depth(settings.depth),
            pace=pace.messages,
            name=settings.exchange,
            describe=self._redact.text,
        )
        self.react = Reactions(
            exchange=self.exchange,
            settings=settings,
            carried=carried,
            venue=self._venue,
            tap=self.tap,
            redact=self._redact,
            subscriptions=self._subscriptions,
            clock=clock,
            ends=self._ends,
            fail=self._fail,
        )
        carried.skew.reset()
        self._upkeep: Upkeep | None = None

    def _keep_up(self) -> Upkeep:
        """Return what sees to the streams, from now on."""
        return Upkeep(
            exchange=self._settings.exchange,
            taker=self.tap,
            watchdog=self._carried.watchdog,
            streams=self.plan.streams(),
            book="orderbook",
            ask=self.ask,
            unanswered=self.react.unanswered,
            answer_s=self._settings.answer_s,
            clock=self._clock,
        )

    def ask(self, channel: str, symbols: Iterable[str]) -> None:
        """Have streams sent again: those that fell silent, and books that have a hole."""
        for symbol in symbols:
            is_silent = (symbol, channel) in self.tap.probes
            self._count.resyncs += channel == "orderbook"
            if is_silent:
                self.tap.probe((symbol, channel), self.exchange.orderbooks.get(symbol))
            self.asking.want(channel, symbol, is_silent)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load the markets and begin to subscribe.

        Raises
        ------
        TransientCollectorError
            When the exchange cannot be reached.
        RefusedError
            When it refuses the credentials, or has nothing of what is wanted.
        """
        await self._pace.connects.take()
        try:
            await self._load_markets()
        except Exception as error:
            raise self._held(self._translated(error)) from error
        settings, exchange = self._settings, self.exchange
        self.plan = plan_calls(settings.channels, exchange.has, exchange.markets, self._venue, self._carried.refused)
        report(self.plan, exchange.has, settings, self._carried.refused)
        markets = {symbol: exchange.markets[symbol] for symbol, _ in self.plan.streams()}
        opening = Opening(settings.exchange_id, self.plan.calls, self._venue.depth(settings.depth), markets)
        self._recording.opens(opening)
        self.begin(opening)
        self._upkeep = self._keep_up()

    def begin(self, opening: Opening) -> None:
        """Begin to subscribe: the markets are known to CCXT."""
        plan = self.plan = Plan(opening.calls)
        self.tap.wanted = {c: plan.symbols(c) for c in ("trades", "orderbook", "ticker", "bidsasks")}
        self._names = self.react.names = MarketNames(opening.markets)
        exchange = self._settings.exchange
        self._tasks = [
            asyncio.create_task(self._subscriptions.run(plan.calls, opening.depth), name=f"subscribe-{exchange}"),
            asyncio.create_task(self.asking.run(), name=f"ask-{exchange}"),
        ]

    async def _load_markets(self) -> None:
        carried, exchange, now = self._carried, self.exchange, self._clock.monotonic()
        if carried.source is not None and now - carried.loaded_at < MARKETS_AGE_MAX_S:
            exchange.set_markets_from_exchange(carried.source)
        await exchange.load_markets()
        if carried.source is None or exchange.markets is not carried.source.markets:
            carried.loaded_at = now
        carried.source = exchange

    async def close(self) -> None:
        """Close the connections and all that belongs to them. Markets are kept for the next time."""
        self._closing = True
        await end_tasks(self._tasks)
        await self._subscriptions.close()
        exchange = self.exchange
        await close_all(self.clients, CLOSE_S if not self._was_silent else 0.0)
        exchange.timeout_on_exit = 0
        with suppress(Exception):
            await exchange.close()
        exchange.clean_ws_data()
        exchange.clients, exchange.hooks = {}, NO_HOOKS

    def tick(self) -> None:
        """Do what is due a few times a second."""
        now_ns = self._clock.now_ns()
        self.tap.tick(now_ns)
        if self._upkeep is not None:
            try:
                self.buffer.extend(self._upkeep.tick(now_ns))
            except TransientCollectorError as error:
                self._fail(error)
            self.buffer.commit()
        self._subscriptions.tick(self.tap.live)
        self._check_silence(self._clock.monotonic())
        cut_books(self.exchange.orderbooks.values())

    def _check_silence(self, now: float) -> None:
        """End a connection on which nothing comes any more."""
        for client in silent(self.clients, now, self._settings.stall_s):
            self._was_silent = True
            text = f"{client.url}: nothing came for {self._settings.stall_s:g} s"
            self._fail(TransientCollectorError(text, reason="stall"))

    def live(self) -> set[Stream]:
        """Return what comes, by bronze channel: of what something came, and flows that were asked for a while ago."""
        if not any(client.isConnected for client in self.clients):
            return set()
        record = self._settings.record
        quiet = {stream for stream in self._subscriptions.settled() if stream[1] != "orderbook"}
        found = {(symbol, c) for symbol, kind in self.tap.live | quiet for c in FEEDS[kind] if c in record}
        return found | ({(ALL, "frames")} if self._recording.is_on else set())

    def _forget(self, stream: Stream) -> None:
        if self._upkeep:
            self._upkeep.forget([stream])

    def rewrite(self, symbols: Iterable[str]) -> None:
        """Let the next `l2` rows of these books be whole snapshots."""
        rewrite_books(self.exchange.orderbooks.get(symbol) for symbol in symbols)

    def _fail(self, error: CollectorError) -> None:
        if self.failure is None and not self._closing:
            self.failure = error
            for client in self.clients:
                client.stop()
            self.buffer.wake()

    def _translated(self, error: BaseException) -> CollectorError:
        return translate(error, self._settings.exchange, self._redact, self._clock, self.exchange.take_wait())

    def _held(self, error: CollectorError) -> CollectorError:
        """Let nobody ask the host for as long as it wants to be left alone."""
        self._pace.hold(getattr(error, "retry_after", None) or 0.0)
        return error

    def _ends(self, error: BaseException) -> bool:
        """End the connection for errors that concern all of it; tell whether this is one."""
        if isinstance(error, (AuthenticationError, *BANS)):
            self._fail(self._held(self._translated(error)))
        return self.failure is not None

    # -- hooks: the connection ----------------------------------------------------------------------------------------

    def on_client(self, client: TapClient) -> None:
        """Give a new connection its check and its pace."""
        client.check, client.throttle = self._venue.check() if self._venue.check else None, self._pace.throttle()
        client.heard = self._clock.monotonic()
        client.connection_id = socket_id(self.id, len(self.clients))
        self.clients.append(client)

    def on_connected(self, client: TapClient) -> None:
        """Record what is watched, once, and say what this exchange wants to hear first."""
        client.heard = self._clock.monotonic()
        self._recording.connected()
        if self._venue.hello:
            self._tasks.append(asyncio.create_task(self._hello(client)))

    async def _hello(self, client: TapClient) -> None:
        with suppress(ConnectionError, OSError):
            for message in self._venue.hello:
                await client.send(message)

    def on_end(self, client: TapClient, error: BaseException) -> None:
        """End the session with its first connection: what that carried is missing from here on."""
        if not self._closing:
            said = error if isinstance(error, ConnectionOverError) else self._translated(error)
            wait = getattr(said, "retry_after", None)
            self._fail(self._held(TransientCollectorError(f"{client.url}: {said}", retry_after=wait)))

    def on_sending(self, client: TapClient, message: Any) -> None:
        """Record a message."""
        self._recording.sends(client, message)

    def on_snapshot(self, symbol: str, text: str) -> None:
        """Record a book's snapshot that came by REST, and remember when: the book's rows are of that instant."""
        now, loading = self._clock.now_ns(), LOADING.get()
        if loading is not None:
            loading.came_ns = now
        self._recording.snapshot(symbol, text, now)

    # -- hooks: frames ------------------------------------------------------------------------------------------------

    def on_frame(self, client: TapClient, data: str | bytes) -> None:
        """Take a frame: record it, check its number, let CCXT's handler have it."""
        clock, tap = self._clock, self.tap
        now = clock.now_ns()
        text = data if isinstance(data, str) else text_of(data)
        is_json, is_long = text[:1] in ("{", "["), len(text) > CONTROL_MAX
        tap.begin(text, now)
        self._count.frames += 1
        try:
            if self._recording.is_on:
                tap.frame(text, "in", client.connection_id, now)
            if client.check is not None:
                hole = client.check.feed(text)
                if hole is REPEATED:
                    self._count.repeated += 1
                    return
                if hole is not None:
                    self.react.hole(client, hole)
            if self._frames_only and self._names.is_done_with(text):
                return
            if is_long and not is_json:
                raise MalformedError("a frame that is no JSON")
            self.is_handling = True
            client.handle(data)
        except Exception as error:
            self.react.failed(text, error)
        finally:
            self.is_handling = False
            client.heard_ns, client.lastPong = now, now // 1_000_000
            if is_long or is_json:
                client.heard = clock.monotonic()
            tap.end()

    def on_trade(self, trade: Any) -> None:
        """Take a trade that was parsed."""
        self.tap.trade(trade)
        self._seen(trade.get("symbol"), "trades")

    def on_ticker(self, ticker: Any, kind: Any) -> None:
        """Take a ticker that was stored."""
        self.tap.ticker(ticker, kind)
        self._seen(ticker.get("symbol"), kind)

    def on_book(self, client: TapClient, book: Any, message_hash: str) -> None:
        """Take a book that has changed."""
        call = client.calls.get(message_hash)
        symbol = book["symbol"] or (call.symbol_in(message_hash) if call else "")
        check, invalid = client.check, self.tap.books.invalid
        is_stale = symbol in invalid and getattr(book, "stale", False)
        if check is not None and not is_stale and (problem := check.verify(book)) is not None:
            self._count.checksums_failed += 1
            self.react.broken(symbol, "checksum", problem)
            return
        loading, nonce = LOADING.get(), check.nonce if check is not None else None
        self.tap.book(symbol, book, message_hash, nonce, loading.came_ns if loading is not None else None)
        if self._frames_only and symbol not in invalid:
            self._seen(symbol, "orderbook")

    def _seen(self, symbol: str, channel: str) -> None:
        """When only frames are recorded, handlers are needed until each market's book stands."""
        if self._frames_only and (channel == "orderbook" or symbol not in self.tap.wanted["orderbook"]):
            self._names.done(symbol)

    def on_rejected(self, client: TapClient, call: Call, message_hash: str, error: BaseException) -> None:
        """Tell a subscription that was refused from a book that cannot go on."""
        self.react.rejected(call, message_hash, error)

    def on_complaint(self, client: TapClient, error: BaseException) -> None:
        """Hear a complaint of the exchange."""
        self.react.complained(error)
