"""Signed subscriptions: a fresh token a message, and no trace of the key anywhere else."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from daedalus.ingestion.collectors.coinbase_ws import CoinbaseCollector
from daedalus.sandbox.server import SandboxServer
from daedalus.sandbox.synthetic import SyntheticSource
from daedalus.shared.events import Frame


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


async def test_each_message_is_signed_and_recorded_without_its_token(key, monkeypatch):
    from aiohttp import ClientWebSocketResponse

    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    sent, real = [], ClientWebSocketResponse.send_str

    async def listen(self, text, *arguments, **options):
        sent.append(json.loads(text))
        return await real(self, text, *arguments, **options)

    monkeypatch.setattr(ClientWebSocketResponse, "send_str", listen)
    async with SandboxServer("coinbase", SyntheticSource(["BTC-USD"], seed=1)) as server:
        collector = CoinbaseCollector(
            symbols=["BTC-USD"],
            channels=["trades", "frames"],
            url=server.url,
            api_key="organizations/o/apiKeys/k",
            api_secret=pem,
        )
        frames = []
        stream = collector.events()
        async for events in stream:
            frames += [event for event in events if isinstance(event, Frame)]
            if len(frames) > 6:
                break
        await stream.aclose()
    claims = [jwt.decode(m["jwt"], key.public_key(), algorithms=["ES256"]) for m in sent]
    assert len(claims) >= 2
    assert all(c["iss"] == "cdp" and c["sub"] == "organizations/o/apiKeys/k" for c in claims)
    assert all(c["exp"] - c["nbf"] == 120 for c in claims)
    assert len({jwt.get_unverified_header(m["jwt"])["nonce"] for m in sent}) == len(sent)
    out = [frame.frame for frame in frames if frame.direction == "out"]
    assert out and not any("jwt" in text or "PRIVATE" in text for text in out)
