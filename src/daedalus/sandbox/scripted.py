"""A market written down in advance, for tests: every connection is told of the same updates, from the start."""

import math
from collections.abc import Iterable, Sequence

from daedalus.sandbox.recording import Playback
from daedalus.sandbox.updates import Update
from daedalus.sandbox.view import MarketView
from daedalus.shared.clock import Clock, SystemClock


class ScriptedSource:
    """A `base.MarketSource` over a list of updates.

    Parameters
    ----------
    products
        All that the updates name.
    before
        What has happened before a client comes: books, past trades.
    updates
        What happens then, in order of time.
    speed
        Market seconds per wall second; infinity is as fast as the client takes it.
    linger_s
        Wall seconds to wait, once a client has asked for books or trades, for it to ask for the other too.

    Examples
    --------
    >>> burst = [TradeTick("BTC-USD", t, str(t), "100", "1", "buy") for t in range(1_000_000, 1_050_000, 10)]
    >>> server = SandboxServer("okx", ScriptedSource(["BTC-USD"], updates=burst, speed=1.0))
    """

    def __init__(
        self,
        products: Sequence[str],
        *,
        before: Iterable[Update] = (),
        updates: Sequence[Update] = (),
        speed: float = math.inf,
        linger_s: float = 0.25,
        clock: Clock | None = None,
    ) -> None:
        self.name, self.products, self.linger_s = "script", tuple(products), linger_s
        self._updates, self._speed, self._clock = updates, speed, clock or SystemClock()
        self._view = MarketView(products)
        for update in before:
            self._view.apply(update)
        self._time_us = next((update.time_us for update in updates if update.time_us is not None), 0)

    def open(self) -> Playback:
        """Return a playback from the start."""
        return Playback(self._view.copy(), self._time_us, self._updates, self._speed, self._clock)

    async def run(self) -> None:
        """Nothing to drive: playbacks pace themselves."""
