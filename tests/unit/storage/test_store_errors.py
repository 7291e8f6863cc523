"""What a store answers becomes an error of the one tree that says what to do and holds no secret."""

import datetime as dt
import http.server
import ipaddress
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daedalus.shared.errors import (
    AlreadyExistsError,
    ConfigError,
    CorruptError,
    DeniedError,
    NotFoundError,
    StorageError,
    TransientStorageError,
)
from daedalus.storage.clouds import AzureStorage, GcsStorage, S3Storage
from daedalus.storage.retry import RetryPolicy
from daedalus.storage.store_errors import _BY_CODE, _BY_NAME, _BY_STATUS, _BY_TEXT, explain

SECRETS = ("AKIASECRETKEY", "wJalrSECRETwJalr", "FwoGSESSIONTOKEN", "sv=2024&sig=SIGSECRET", "U0VDUkVUS0VZ")
ONCE = RetryPolicy(attempts=1, timeout_s=5, connect_timeout_s=2)


@contextmanager
def answering(status: int, code: str, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A store that gives one answer to everything, and quotes what it was sent, as some do."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            quoted = " ".join([*SECRETS, self.path, *self.headers.values()]).replace("&", "").replace("<", "")
            body = f"<Error><Code>{code}</Code><Message>{quoted}</Message><Region>eu-west-3</Region></Error>".encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def s3(endpoint_url: str | None, **options: object) -> S3Storage:
    keys = dict(zip(("access_key_id", "secret_access_key", "session_token"), SECRETS, strict=False))
    return S3Storage("lake", prefix="pi", endpoint_url=endpoint_url, region="us-east-1", policy=ONCE, **keys, **options)  # type: ignore[arg-type]


def check_no_secret(error: BaseException) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error)
    # The tests' own lines stand in the traceback too, which is why they name no secret.
    assert not any(secret in told for secret in (*SECRETS, "SIGSECRET", "AWS4-HMAC"))


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "ExpiredToken", DeniedError, "have expired: renew"),
        (403, "InvalidAccessKeyId", DeniedError, "does not know these credentials"),
        (403, "SignatureDoesNotMatch", DeniedError, "check access_key_id and secret_access_key"),
        (403, "AccessDenied", DeniedError, "lack the right"),
        (403, "RequestTimeTooSkewed", DeniedError, "set the clock"),
        (404, "NoSuchBucket", StorageError, "no such bucket or container: create it"),
        (400, "AuthorizationHeaderMalformed", StorageError, "in another region: correct the region, to eu-west-3"),
        (301, "PermanentRedirect", StorageError, "in another region"),
        (400, "BadDigest", CorruptError, "damaged on the way"),
        (400, "XAmzContentChecksumMismatch", CorruptError, "damaged on the way"),
        (507, "XMinioStorageFull", StorageError, "is full or over its quota"),
        (403, "QuotaExceeded", StorageError, "is full or over its quota"),
        (503, "SlowDown", TransientStorageError, "is busy"),
        (429, "TooManyRequests", TransientStorageError, "is busy"),
        (500, "InternalError", TransientStorageError, "the store failed"),
        (409, "ConditionalRequestConflict", TransientStorageError, "is busy"),
    ],
)
def test_answers_say_what_to_do(status: int, code: str, kind: type[StorageError], words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    with answering(status, code) as url:
        store = s3(url)
        calls = {
            "put": lambda: store.put("a/b", b"1"),
            "put_file": lambda: store.put_file("a/b", tmp_path / "file"),
            "get": lambda: store.get("a/b"),
            "get_file": lambda: store.get_file("a/b", tmp_path / "new"),
            "list": lambda: list(store.list("a")),
            "folders": lambda: store.folders("a"),
            "digest": lambda: store.digest("a/b"),
        }
        for name, call in calls.items():
            with pytest.raises(kind, match=words) as caught:
                call()
            assert type(caught.value) is kind, name
            assert str(caught.value).startswith("s3://lake/pi/a")
            check_no_secret(caught.value)
        with pytest.raises(StorageError) as caught:
            store.head("a/b")
        check_no_secret(caught.value)


def test_a_store_that_comes_back_is_asked_again() -> None:
    tries: list[float] = []

    def fails_twice() -> str:
        if len(tries) < 2:
            raise TransientStorageError("busy")
        return "done"

    assert RetryPolicy(attempts=5, first_wait_s=1.0).call(fails_twice, tries.append) == "done"
    assert 0.5 <= tries[0] <= 1.0 <= tries[1] <= 2.0


@pytest.mark.parametrize("error", [NotFoundError, DeniedError, AlreadyExistsError, CorruptError, StorageError])
def test_what_asking_again_cannot_help_is_not_asked_again(error: type[StorageError]) -> None:
    def fails() -> None:
        raise error("no")

    with pytest.raises(error):
        RetryPolicy(attempts=5).call(fails, lambda wait: pytest.fail("waited"))


def test_without_an_answer_it_says_what_to_look_at() -> None:
    with pytest.raises(TransientStorageError, match="no connection to the store: check the network"):
        s3("http://127.0.0.1:1").get("a")
    with pytest.raises(TransientStorageError, match="name was not found"):
        s3("https://no-such-host.invalid").get("a")


def test_without_keys_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with answering(404, "None") as url:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", url)
        with pytest.raises(DeniedError, match="there are no credentials: set access_key_id"):
            S3Storage("lake", endpoint_url=url, policy=ONCE).get("a")


def test_plain_http_stays_on_this_machine_unless_allowed() -> None:
    with pytest.raises(ConfigError, match=r"http:// to store\.lan.*Use https://, or set allow_http"):
        s3("http://store.lan:9000")
    s3("http://store.lan:9000", allow_http=True)
    s3("http://127.0.0.1:9000")


def test_certificates_are_verified(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "own.pem"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with pytest.raises(StorageError, match="certificate is not valid"):
            s3(f"https://127.0.0.1:{server.server_port}").get("a")
        server.shutdown()
        thread.join()


def self_signed(path: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
    certificate = builder.add_extension(host, critical=False).sign(key, hashes.SHA256())
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = serialization.Encoding.PEM
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, *private))
    return path


def test_azure_and_google_keep_their_secrets_too(tmp_path: Path) -> None:
    with answering(403, "AuthorizationFailure") as url:
        stores = [
            AzureStorage("lake", account_name="a", sas_token=SECRETS[3], endpoint_url=url, policy=ONCE),
            AzureStorage("lake", account_name="a", account_key=SECRETS[4], endpoint_url=url, policy=ONCE),
            GcsStorage("lake", endpoint_url=url, policy=ONCE),
        ]
        for store in stores:
            for call in (store.get, store.head, store.delete, lambda key, store=store: store.put(key, b"1")):
                with pytest.raises(DeniedError) as caught:
                    call("a")
                check_no_secret(caught.value)
    broken = "no key, " + SECRETS[1]
    (tmp_path / "key.json").write_text(broken)
    for make in (
        lambda: AzureStorage("lake", account_name="a", account_key=broken),
        lambda: GcsStorage("lake", service_account_file=str(tmp_path / "key.json")),
        lambda: GcsStorage("lake", service_account_file=str(tmp_path / "missing.json")),
    ):
        with pytest.raises(ConfigError, match="check its keys, key file") as refused:
            make()
        check_no_secret(refused.value)


def test_no_message_quotes_what_the_library_says() -> None:
    quoted = " ".join(SECRETS)
    texts = [
        f"status code: {status} <Code>{code}</Code> {quoted}" for status in (*_BY_STATUS, 418) for code in _BY_CODE
    ]
    texts += [f"status code: {status} {quoted}" for status in (*_BY_STATUS, 418, 599)]
    texts += [f"{words} {quoted}" for words, _ in _BY_TEXT] + [quoted]
    for name in (*_BY_NAME, "GenericError"):
        kind = type(name, (Exception,), {})
        for text in texts:
            told = explain(kind(text), "s3://lake/a")
            check_no_secret(told)
            assert str(told).startswith("s3://lake/a: ")
