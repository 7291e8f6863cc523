"""Other addresses for an exchange of CCXT: a sandbox, or a host that CCXT does not know."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit


def moved(urls: Any, ws_url: str | None, rest_url: str | None) -> Any:
    """Return CCXT's addresses with scheme and host replaced; their paths follow that of the new address.

    On this machine, where one server plays all hosts of an exchange, hosts whose addresses would fall together are told
    apart by their first label, which goes before the path.

    Examples
    --------
    >>> moved({"ws": "wss://ws.okx.com:8443/ws/v5", "rest": "https://{hostname}"}, "ws://127.0.0.1:8765", None)
    {'ws': 'ws://127.0.0.1:8765/ws/v5', 'rest': 'https://{hostname}'}
    >>> moved({"spot": "wss://stream.x.com/ws", "swap": "wss://fstream.x.com/ws"}, "ws://127.0.0.1:8765", None)
    {'spot': 'ws://127.0.0.1:8765/stream/ws', 'swap': 'ws://127.0.0.1:8765/fstream/ws'}
    """
    hosts: dict[str, set[str]] = {}
    for url in _texts(urls):
        parts = urlsplit(url)
        hosts.setdefault(f"{_is_socket(url)} {parts.path}", set()).add(parts.netloc)

    def move(url: Any) -> Any:
        if isinstance(url, dict):
            return {name: move(value) for name, value in url.items()}
        other = (ws_url if _is_socket(url) else rest_url) if isinstance(url, str) else None
        if other is None:
            return url
        parts, new = urlsplit(url), urlsplit(other)
        is_here = new.hostname == "localhost" or str(new.hostname).startswith("127.")
        falls_together = is_here and len(hosts[f"{_is_socket(url)} {parts.path}"]) > 1
        label = f"/{parts.netloc.partition('.')[0]}" if falls_together else ""
        return urlunsplit((new.scheme, new.netloc, new.path.rstrip("/") + label + parts.path, parts.query, ""))

    return move(urls)


def first_socket(urls: Any) -> str:
    """Return the first websocket address, whose host stands for the exchange; empty if there is none."""
    return next((url for url in _texts(urls) if _is_socket(url)), "")


def _texts(urls: Any) -> Iterator[str]:
    if isinstance(urls, dict):
        for value in urls.values():
            yield from _texts(value)
    elif isinstance(urls, str):
        yield urls


def _is_socket(url: str) -> bool:
    return url.startswith(("ws://", "wss://"))
