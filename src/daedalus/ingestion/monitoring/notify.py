"""Signs of life for systemd (`sd_notify`): datagrams to the socket that it names in the environment."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

#: What systemd sets: the socket, and the microseconds after which a silent service counts as hung.
SOCKET, WATCHDOG_US = "NOTIFY_SOCKET", "WATCHDOG_USEC"


class Notifier:
    """Tells systemd how the service does; does nothing where there is none.

    Parameters
    ----------
    address
        The socket's path; a leading ``@`` is Linux' abstract namespace. None tells nobody.
    """

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Notifier":
        """Return the notifier of this process."""
        return cls((os.environ if environ is None else environ).get(SOCKET))

    def ready(self) -> None:
        """Tell that the start is over."""
        self._send("READY=1")

    def alive(self, text: str) -> None:
        """Tell that the service is alive, and what it does, for ``systemctl status``."""
        self._send(f"WATCHDOG=1\nSTATUS={text}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # That nobody listens is for systemd to notice.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), self._address)
