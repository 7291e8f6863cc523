"""What a session asked an exchange for, as the first of its recorded frames: with it, frames can be replayed anywhere.

Names of connections in `frames`: ``SESSION:0``, ``SESSION:1`` and so on are the sockets of a session, in the order in
which they were opened; ``SESSION:rest:BTC/USDT`` is the answer to a request for that book's snapshot;
``SESSION:open`` is what stands here.
"""

from typing import Any

import msgspec

from daedalus.ingestion.collectors.ccxt_markets import Call

OPEN = "open"
_REST = "rest:"


class Opening(msgspec.Struct, frozen=True):
    """What a session watches.

    Attributes
    ----------
    exchange_id
        CCXT's id.
    calls
        Of CCXT's watch methods, in order.
    depth
        That books are subscribed to; None is CCXT's own.
    markets
        CCXT's description of each market that the calls name, by symbol.
    """

    exchange_id: str
    calls: list[Call]
    depth: int | None
    markets: dict[str, Any]

    def text(self) -> str:
        """Return it as JSON."""
        return msgspec.json.encode(self).decode()


#: Raises `msgspec.MsgspecError` for what is none.
read_opening = msgspec.json.Decoder(Opening).decode


def socket_id(session: str, number: int) -> str:
    """Return the name of a session's socket."""
    return f"{session}:{number}"


def opening_id(session: str) -> str:
    """Return under which name a session's opening stands among the frames."""
    return f"{session}:{OPEN}"


def snapshot_id(session: str, symbol: str) -> str:
    """Return under which name the snapshot of a book stands among the frames."""
    return f"{session}:{_REST}{symbol}"


def parts_of(connection_id: str) -> tuple[str, int | None, str]:
    """Return session, number of the socket, and symbol of the snapshot; None and empty where it is none.

    Examples
    --------
    >>> parts_of("1f2e3d4c:1"), parts_of("1f2e3d4c:rest:BTC/USDT:USDT"), parts_of("1f2e3d4c:open")
    (('1f2e3d4c', 1, ''), ('1f2e3d4c', None, 'BTC/USDT:USDT'), ('1f2e3d4c', None, ''))
    """
    session, _, rest = connection_id.partition(":")
    symbol = rest.removeprefix(_REST) if rest.startswith(_REST) else ""
    return session, int(rest) if rest.isdecimal() else None, symbol
