"""What a session asked an exchange for, as the first of its recorded frames: with it, frames can be replayed anywhere.

Names of connections in `frames`: ``SESSION:0``, ``SESSION:1`` and so on are the sockets of a session, in the order in
which they were opened; ``SESSION:rest:BTC/USDT`` is the answer to a request for that book's snapshot;
``SESSION:again:BTC/USDT`` is where that book was asked for anew;
``SESSION:open`` is what stands here.
"""

from typing import Any, NamedTuple

import msgspec

from daedalus.ingestion.collectors.ccxt_markets import Call

OPEN = "open"
_REST = "rest:"
_AGAIN = "again:"


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


def again_id(session: str, symbol: str) -> str:
    """Return under which name it stands among the frames that a book was asked for anew."""
    return f"{session}:{_AGAIN}{symbol}"


class Parts(NamedTuple):
    """What the name of a connection says: number of the socket, or the symbol whose snapshot or asking it is."""

    session: str
    socket: int | None = None
    snapshot: str = ""
    again: str = ""


def parts_of(connection_id: str) -> Parts:
    """Return what a name says.

    Examples
    --------
    >>> parts_of("1f2e3d4c:1").socket, parts_of("1f2e3d4c:rest:BTC/USDT:USDT").snapshot
    (1, 'BTC/USDT:USDT')
    >>> parts_of("1f2e3d4c:again:BTC/USDT").again, parts_of("1f2e3d4c:open")
    ('BTC/USDT', Parts(session='1f2e3d4c', socket=None, snapshot='', again=''))
    """
    session, _, rest = connection_id.partition(":")
    if rest.isdecimal():
        return Parts(session, socket=int(rest))
    if rest.startswith(_REST):
        return Parts(session, snapshot=rest.removeprefix(_REST))
    return Parts(session, again=rest.removeprefix(_AGAIN) if rest.startswith(_AGAIN) else "")
