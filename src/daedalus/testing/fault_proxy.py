"""A proxy in front of an object store that spoils a seeded share of the requests and counts all of them."""

import asyncio
import random
import threading
from collections import Counter
from types import TracebackType
from typing import Literal, Self

from aiohttp import ClientSession, DummyCookieJar, web
from multidict import CIMultiDict
from yarl import URL

Fault = Literal["drop", "lose", "truncate", "delay", "503", "429"]
FAULTS: tuple[Fault, ...] = ("drop", "lose", "truncate", "delay", "503", "429")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}
_BODY_MAX = 1 << 30


class FaultProxy:
    """Passes HTTP requests on to a store, from a thread of its own, for the length of a block.

    Which request is spoilt follows from the seed and the order in which requests come; how a fault looks:

    - drop: the connection is cut before the store hears of the request;
    - lose: the store does what was asked, and the connection is cut before the answer;
    - truncate: the answer is cut in the middle of its body;
    - delay: the answer comes `delay_s` later;
    - 503, 429: the store is not asked, the answer says so with ``Retry-After``.

    Parameters
    ----------
    upstream
        Address of the store.
    seed
        Of the faults.
    share
        Of the requests to spoil, 0 to 1; may be changed while it runs.
    faults
        The kinds to choose from.
    delay_s
        Length of a delay, seconds.

    Attributes
    ----------
    requests
        How many came, by kind: PUT, GET, HEAD, LIST, POST, DELETE.
    spoilt
        How many were spoilt, by fault.
    is_down
        While true, every request is dropped: the network is gone.
    """

    def __init__(
        self,
        upstream: str,
        *,
        seed: int = 0,
        share: float = 0.0,
        faults: tuple[Fault, ...] = FAULTS,
        delay_s: float = 0.05,
    ) -> None:
        self.share = share
        self.is_down = False
        self.requests: Counter[str] = Counter()
        self.spoilt: Counter[str] = Counter()
        self._upstream = upstream.rstrip("/")
        self._random = random.Random(seed)
        self._faults = faults
        self._delay_s = delay_s
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._port = 0

    @property
    def endpoint_url(self) -> str:
        """Return the address to use in place of the store's."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; open connections are cut."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        # An answer is passed on as it came: no decoding, no cookies, no headers of our own.
        async with ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar()) as session:
            self._session = session
            server = web.Server(self._handle)
            runner = web.ServerRunner(server, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._port = runner.addresses[0][1]
            self._started.set()
            await self._stop.wait()
            await runner.cleanup()
            # Those that wait for a delay would be left behind.
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request._client_max_size = _BODY_MAX
        body = await request.read()
        self.requests["LIST" if "list-type" in request.query else request.method] += 1
        fault = self._draw()
        if fault == "drop":
            return self._cut(request)
        if fault in ("503", "429"):
            return web.Response(status=int(fault), headers={"Retry-After": "1"}, text="<Code>SlowDown</Code>")
        status, headers, answer = await self._ask(request, body)
        if fault == "lose":
            return self._cut(request)
        if fault == "delay":
            await asyncio.sleep(self._delay_s)
        return await self._answer(request, status, headers, answer, is_cut=fault == "truncate")

    def _draw(self) -> Fault | None:
        if self.is_down:
            return "drop"
        if self._random.random() >= self.share:
            return None
        fault = self._random.choice(self._faults)
        self.spoilt[fault] += 1
        return fault

    async def _ask(self, request: web.BaseRequest, body: bytes) -> tuple[int, CIMultiDict[str], bytes]:
        """Pass the request on, unchanged: the signature covers the path, the headers and the name of the host."""
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP)
        url = URL(self._upstream + request.raw_path, encoded=True)
        skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False, skip_auto_headers=skipped
        ) as answer:
            kept = CIMultiDict((k, v) for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP)
            return answer.status, kept, await answer.read()

    async def _answer(
        self, request: web.BaseRequest, status: int, headers: CIMultiDict[str], body: bytes, *, is_cut: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        if "Content-Length" not in headers and status not in (204, 304):
            response.content_length = len(body)
        await response.prepare(request)
        if is_cut:
            await response.write(body[: len(body) // 2])
            return self._cut(request, response)
        if body:
            await response.write(body)
        await response.write_eof()
        return response

    def _cut(self, request: web.BaseRequest, response: web.StreamResponse | None = None) -> web.StreamResponse:
        if request.transport is not None:
            # Not abort: what was written before is still sent.
            request.transport.close()
        return response or web.Response()
