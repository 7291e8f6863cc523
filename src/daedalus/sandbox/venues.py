"""The table of exchanges whose recorded frames the sandbox understands. A new one is a new file and a line here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from daedalus.recordings.base import Capture, Unreadable
from daedalus.sandbox import binance_frames, kraken_frames, okx_frames
from daedalus.sandbox.updates import Recorded
from daedalus.shared.errors import ConfigError

Read = Callable[[Capture], Recorded | None]
#: Lines in which a capture has to name its address.
HEAD_LINES = 50


@dataclass(frozen=True)
class Venue:
    """An exchange as it was recorded.

    Attributes
    ----------
    speaks
        The protocol of `registry` whose clients understand its frames as they are; empty if none does.
    address
        What a websocket or REST address of it contains.
    reader
        Returns a function that tells what one capture is about; it may remember what it has seen.
    arrange
        Puts all frames of a session into relation, once they are read.
    linger_s
        How long its clients may take from one subscription to the next on the same connection.
    """

    name: str
    speaks: str
    address: str
    reader: Callable[[], Read]
    arrange: Callable[[Sequence[Recorded]], list[Recorded]] = list
    linger_s: float = 1.5


VENUES: Mapping[str, Venue] = MappingProxyType(
    {
        venue.name: venue
        for venue in (
            # Each stream may have a connection of its own, and the address may name all: nothing to wait for.
            Venue("binance", "binance", "binance", binance_frames.BinanceReader, binance_frames.arrange, linger_s=0.25),
            Venue("okx", "okx", "okx.com", lambda: okx_frames.read),
            Venue("kraken", "kraken", "ws.kraken.com/v2", kraken_frames.KrakenReader),
            Venue("kraken-v1", "", "ws.kraken.com", lambda: kraken_frames.read_v1),
        )
    }
)
#: Formats that hold the frames of one exchange only.
_OF_FORMAT = MappingProxyType({"binance-raw": "binance", "kraken-book": "kraken", "json-frames": "kraken"})


def venue_of(form: str, path: Path, captures: Iterable[Capture | Unreadable]) -> Venue:
    """Return the exchange that a capture is of: its format tells, or the first address in it.

    Raises
    ------
    ConfigError
        If it is an exchange that the sandbox does not know.
    """
    if form in _OF_FORMAT:
        return VENUES[_OF_FORMAT[form]]
    head = islice(captures, HEAD_LINES)
    url = next((c.url for c in head if isinstance(c, Capture) and c.url), "")
    for venue in VENUES.values():
        if venue.address in url:
            return venue
    raise ConfigError(f"{path}: frames of {url or 'no known address'}: the sandbox plays those of {', '.join(VENUES)}")
