"""Ports for servers that come back: while such a server is away, no outgoing connection is given its port."""

import socket
from itertools import islice
from pathlib import Path
from random import SystemRandom

_LENT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _LAST = 10_000, 65_535  # below lie the ports of well-known services


def lasting_ports(host: str, count: int) -> list[int]:
    """Choose free ports, if possible outside the range that the system lends to outgoing connections.

    A client that tries again and again to reach a dead server could otherwise be lent the very port it
    calls, and then be connected to itself, so that the server can never listen there again.

    Args:
        host: Address to listen on.
        count: How many.

    Returns:
        Different ports, free at this moment.

    Raises:
        OSError: When there are not so many.
    """
    low, high = (int(bound) for bound in _LENT.read_text("ascii").split())
    candidates = [*range(_FIRST, _LAST + 1)]
    SystemRandom().shuffle(candidates)
    # where all ports are lent, any one has to do
    candidates.sort(key=lambda port: low <= port <= high)
    free = list(islice((port for port in candidates if _is_free(host, port)), count))
    if len(free) < count:
        raise OSError(f"fewer than {count} ports from {_FIRST} to {_LAST} are free on {host}")
    return free


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
