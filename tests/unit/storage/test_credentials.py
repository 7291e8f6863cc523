"""Where S3's keys come from: the settings, the environment, the role of the machine."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from daedalus.shared.errors import ConfigError, NotFoundError
from daedalus.storage.clouds import S3Storage
from daedalus.storage.retry import RetryPolicy

ROLE = "/latest/meta-data/iam/security-credentials/"
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")


class Machine(http.server.ThreadingHTTPServer):
    """A store without objects, and the service through which a machine tells its role."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self.tell(200 if self.path == "/latest/api/token" else 403, b"machine-token")

    def do_GET(self) -> None:
        if self.path == ROLE:
            self.tell(200, b"recorder")
        elif self.path == f"{ROLE}recorder":
            keys = {"AccessKeyId": "role-key", "SecretAccessKey": "role-secret", "Token": "role-token"}
            self.tell(200, json.dumps({**keys, "Expiration": "2099-01-01T00:00:00Z"}).encode())
        else:
            assert isinstance(self.server, Machine)
            signed = self.headers["Authorization"].split("Credential=")[1].split("/")
            self.server.seen.append((f"{signed[0]}@{signed[2]}", self.headers.get("x-amz-security-token", "")))
            self.tell(404, b"<Code>NoSuchKey</Code>")

    def tell(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with Machine() as server:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", server.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def used(machine: Machine, **options: str) -> tuple[str, str]:
    """Return key@region and the session token that a request was signed with."""
    with pytest.raises(NotFoundError):
        S3Storage("lake", endpoint_url=machine.url, policy=RetryPolicy(attempts=1), **options).get("a")  # type: ignore[arg-type]
    return machine.seen[-1]


def test_keys_of_the_settings(machine: Machine) -> None:
    keys = {"access_key_id": "own", "secret_access_key": "s", "session_token": "own-token", "region": "eu-west-3"}
    assert used(machine, **keys) == ("own@eu-west-3", "own-token")


def test_keys_of_the_environment(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    values = ("env", "s", "env-token", "ap-south-1")
    for name, value in zip(VARIABLES, values, strict=False):
        monkeypatch.setenv(name, value)
    assert used(machine) == ("env@ap-south-1", "env-token")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    assert used(machine, access_key_id="own", secret_access_key="s") == ("own@ap-south-1", "")


def test_the_role_of_the_machine(machine: Machine) -> None:
    assert used(machine) == ("role-key@us-east-1", "role-token")


def test_own_keys_are_not_mixed_with_a_token_of_the_environment(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other-keys")
    assert used(machine, access_key_id="own", secret_access_key="s") == ("own@us-east-1", "")


def test_the_address_of_the_environment(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", machine.url)
    store = S3Storage("lake", policy=RetryPolicy(attempts=1), access_key_id="own", secret_access_key="s")
    with pytest.raises(NotFoundError):
        store.get("a")
    assert machine.seen
    assert store.scan_options()["aws_endpoint"] == machine.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.lan:9000")
    with pytest.raises(ConfigError, match="http:// to store"):
        S3Storage("lake")
