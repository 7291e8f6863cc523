"""Who asks over HTTP for a book: a request names no connection, so it is matched with those that subscribed to it.

In a playback each connection is somewhere else in recorded time; a book fits one connection only.
"""

from collections.abc import Iterable

from daedalus.sandbox.base import MarketSource, Session
from daedalus.sandbox.capture import CaptureSource
from daedalus.sandbox.updates import Recorded
from daedalus.sandbox.view import MarketView, TextBook


class BookClient(Session):
    """A session whose client fetches books over HTTP.

    Attributes
    ----------
    view
        The market as its connection has seen it.
    due
        The product whose recorded answer the playback has come to, until the client asks.
    """

    view: MarketView
    due: str = ""

    def fetched(self, product: str) -> None:
        """Be told that the client has been answered."""
        self.fetch, self.due = "done", ""


class BookDesk:
    """Matches requests with sessions: first those that have just subscribed, in order; then the latest."""

    def __init__(self) -> None:
        self._clients: dict[str, list[BookClient]] = {}
        self._owed: dict[str, list[BookClient]] = {}

    def subscribed(self, client: BookClient, product: str) -> None:
        """Expect a request for a product by a client, and more of them later."""
        for queue in (self._clients.setdefault(product, []), self._owed.setdefault(product, [])):
            if client in queue:
                queue.remove(client)
            queue.append(client)

    def left(self, client: BookClient, products: Iterable[str] | None = None) -> None:
        """Forget a client, for some products or for all."""
        for queues in (self._clients, self._owed):
            for product in list(queues) if products is None else products:
                if client in queues.get(product, ()):
                    queues[product].remove(client)

    def answer(self, product: str, source: MarketSource) -> TextBook | Recorded | None:
        """Return the book to answer a request with, None if there is none to be had.

        A recorded answer as long as the client has not passed it; else the newest of what the client has seen and of
        what the source itself shows, which of a live market is ahead of all its clients.
        """
        owed, clients = self._owed.get(product), self._clients.get(product)
        client = owed.pop(0) if owed else clients[-1] if clients else None
        recorded = source.answers.get(product) if isinstance(source, CaptureSource) else None
        is_due = client is not None and client.due == product
        if client is not None:
            client.fetched(product)
        books = [] if client is None else [client.view.books[product]]
        newest = max([*books, _now(source, product)], key=lambda book: book.update_id)
        if recorded is not None and (is_due or not newest.update_id):
            return recorded
        return newest if newest.update_id else None


def _now(source: MarketSource, product: str) -> TextBook:
    feed = source.open()
    feed.close()
    return feed.view.books[product]
