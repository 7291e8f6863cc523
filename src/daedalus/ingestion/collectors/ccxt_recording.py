"""Writing a session's frames: verbatim, in order, under the names by which they can be replayed (`ccxt_opening`)."""

from typing import TYPE_CHECKING, Any

import orjson

from daedalus.ingestion.collectors.ccxt_errors import Redactor
from daedalus.ingestion.collectors.ccxt_opening import Opening, again_id, opening_id, snapshot_id
from daedalus.ingestion.collectors.ccxt_tap import Tap
from daedalus.shared.clock import Clock

if TYPE_CHECKING:
    from daedalus.ingestion.collectors.ccxt_client import TapClient


class FrameRecording:
    """Records what passes a session's connections, if frames are wanted.

    Parameters
    ----------
    session
        Its name.
    is_on
        Whether frames are wanted.
    """

    def __init__(self, session: str, tap: Tap, clock: Clock, redact: Redactor, *, is_on: bool) -> None:
        self._session, self._tap, self._clock, self._redact, self.is_on = session, tap, clock, redact, is_on
        self._opening = ""

    def opens(self, opening: Opening) -> None:
        """Have the opening recorded when the first connection is up: an attempt that fails leaves no trace."""
        self._opening = opening.text() if self.is_on else ""

    def connected(self) -> None:
        """Record the opening, once."""
        if self._opening:
            self._tap.frame(self._opening, "out", opening_id(self._session), self._clock.now_ns())
            self._opening = ""

    def sends(self, client: "TapClient", message: Any) -> None:
        """Record a message, without secrets, before it is sent."""
        if self.is_on:
            shown = self._redact.message(message) if self._redact else message
            text = shown if isinstance(shown, str) else orjson.dumps(shown).decode()
            self._tap.frame(text, "out", client.connection_id, self._clock.now_ns())

    def asks(self, symbol: str) -> None:
        """Record that a book is asked for anew: from here on, what comes is kept for it."""
        if self.is_on:
            self._tap.frame("", "out", again_id(self._session, symbol), self._clock.now_ns())

    def snapshot(self, symbol: str, text: str, now: int) -> None:
        """Record a book's snapshot that came by REST: without it, recorded deltas rebuild no book."""
        if self.is_on:
            self._tap.frame(text, "in", snapshot_id(self._session, symbol), now)
