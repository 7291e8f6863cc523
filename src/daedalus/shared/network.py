"""Names of machines."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether a host name means this machine, without asking any name server.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("example.com")
    (True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
