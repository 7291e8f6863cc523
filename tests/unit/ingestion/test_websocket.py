"""Connections that are not made: each cause has its own words, and an exchange that asks for a pause gets it."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager
from email.utils import format_datetime

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from daedalus.ingestion.collectors import websocket as module
from daedalus.ingestion.collectors.pace import HostPace, Limits
from daedalus.ingestion.collectors.websocket import text_frames, websocket
from daedalus.shared.clock import SystemClock
from daedalus.shared.errors import TransientCollectorError

CLOCK = SystemClock()
FAST = Limits(connects_per_s=1000, messages_per_s=1000)


async def failure(url, pace=None):
    with pytest.raises(TransientCollectorError) as caught:
        pace = pace or HostPace(FAST, CLOCK)
        async with websocket(url, max_frame_bytes=1 << 20, pace=pace, clock=CLOCK):
            raise AssertionError("it connected")
    return caught.value


@asynccontextmanager
async def http(handler, tls=None):
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    (folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


async def test_a_name_that_does_not_resolve():
    error = await failure("wss://no-such-exchange.invalid/feed")
    assert "cannot connect, DNS: no-such-exchange.invalid does not resolve" in str(error)


async def test_a_port_where_nothing_listens():
    assert "cannot connect, refused: nothing listens there" in str(await failure("ws://127.0.0.1:9"))


async def test_a_certificate_that_nobody_signed(tmp_path):
    async def hello(request):
        return web.Response()

    async with http(hello, tls=certificate(tmp_path)) as address:
        error = await failure(f"wss://{address}/")
    assert "cannot connect, TLS: self" in str(error) and "certificate" in str(error)


async def test_tls_with_a_server_that_speaks_none():
    async def hello(request):
        return web.Response()

    async with http(hello) as address:
        assert "cannot connect, TLS: " in str(await failure(f"wss://{address}/"))


async def test_a_server_that_says_nothing(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_S", 0.2)

    closed = asyncio.Event()

    async def say_nothing(reader, writer):
        await reader.read()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "cannot connect, time-out: no answer" in str(await failure(f"ws://127.0.0.1:{port}"))
        await closed.wait()


async def test_a_server_that_hangs_up():
    async with await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "cannot connect, reset: the server hung up" in str(await failure(f"ws://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "7", 7.0),
        (503, "120", 120.0),
        (429, None, module.BAN_S),
        (418, "nonsense", module.BAN_S),
        (503, None, None),
        (404, None, None),
        (429, "99999999999", module.RETRY_AFTER_MAX_S),
        (503, dt.timedelta(seconds=90), 90.0),
        (503, dt.timedelta(seconds=-90), 0.0),
    ],
)
async def test_an_answer_that_asks_to_wait(status, header, seconds):
    # The server's clock is years off: a date in its answer means what it means by that clock.
    theirs = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)

    async def refuse(request):
        text = format_datetime(theirs + header, usegmt=True) if isinstance(header, dt.timedelta) else header
        headers = {"Date": format_datetime(theirs, usegmt=True)} | ({"Retry-After": text} if text else {})
        return web.Response(status=status, headers=headers)

    async with http(refuse) as address:
        error = await failure(f"ws://{address}/")
    assert error.retry_after == seconds and f"answered {status}" in str(error)
    assert ("wants a pause until 20" in str(error)) == (seconds is not None)


async def test_a_pause_is_everybodys():
    waited = []

    class Waits(SystemClock):
        async def sleep(self, seconds):
            waited.append(seconds)
            raise asyncio.CancelledError

    async def refuse(request):
        return web.Response(status=429, headers={"Retry-After": "30"})

    clock = Waits()
    pace = HostPace(FAST, clock)
    async with http(refuse) as address:
        await failure(f"ws://{address}/", pace)
        for bucket in (pace.connects, pace.messages):
            with pytest.raises(asyncio.CancelledError):
                await bucket.take()
    assert [round(seconds) for seconds in waited] == [30, 30]


async def test_silence_and_closing_are_told_apart():
    async def serve(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_str("one")
        if request.query.get("close"):
            await ws.close(code=1012, message=b"restart")
        else:
            await asyncio.sleep(5)
        return ws

    async def talk(url):
        got = []
        with pytest.raises(TransientCollectorError) as caught:
            async with websocket(url, max_frame_bytes=1 << 20, pace=HostPace(FAST, CLOCK), clock=CLOCK) as ws:
                async for frames in text_frames(ws, 0.3, CLOCK):
                    got += [text for text, _ in frames]
        return got, caught.value.reason, str(caught.value)

    async with http(serve) as address:
        assert await talk(f"ws://{address}/") == (["one"], "stall", "nothing came for 0.3 s")
        got, reason, text = await talk(f"ws://{address}/?close=1")
    assert (got, reason) == (["one"], "disconnect") and "1012" in text and "restart" in text


async def test_frames_that_came_together_are_handed_on_together_and_none_waits():
    """A ping is answered while nothing else comes: what came before it is not held back until then."""
    sent = [f"frame {n}" for n in range(250)]
    is_taken = asyncio.Event()

    async def serve(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.receive_str()
        for text in sent:
            await ws.send_str(text)
        await ws.ping()
        await is_taken.wait()
        await ws.send_bytes(b"\xff the last")
        await ws.close()
        return ws

    batches = []
    async with http(serve) as address:
        url, pace = f"ws://{address}/", HostPace(FAST, CLOCK)
        async with websocket(url, max_frame_bytes=1 << 20, pace=pace, clock=CLOCK) as ws:
            await ws.send_str("begin")
            with pytest.raises(TransientCollectorError, match="code 1000"):
                async for frames in text_frames(ws, 30, CLOCK):
                    batches.append(frames)
                    if sum(map(len, batches)) == len(sent):
                        is_taken.set()
    received = [frame for frames in batches for frame in frames]
    assert [text for text, _ in received] == [*sent, "\ufffd the last"]
    assert [now for _, now in received] == sorted(now for _, now in received)
    assert 1 < max(map(len, batches)) <= module.TOGETHER_MAX and len(batches) < len(sent)
