"""Endpoints: the addresses at which a worker can be looked at."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from socket import SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, AddressFamily, getaddrinfo, socket
from typing import NamedTuple

from metta.sweep.contracts.errors import DefinitionError

METRICS = "METTA_SWEEP_METRICS"
HEALTH = "METTA_SWEEP_HEALTH"

PORTS = range(1, 65536)

log = logging.getLogger(__name__)


class Address(NamedTuple):
    """Where a server listens; IPv6 hosts are written in brackets.

    >>> str(Address.parse("[::1]:9090"))
    '[::1]:9090'
    """

    host: str
    port: int

    def __str__(self) -> str:
        """As it is given."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Address":
        """An address of text.

        Raises:
            ValueError: When it is none.
        """
        host, _, port = text.rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        if not host or (":" in host and not is_bracketed) or not port.isdecimal() or int(port) not in PORTS:
            raise ValueError(f"has to be HOST:PORT, such as 0.0.0.0:9090, got {text!r}")
        return cls(host.strip("[]"), int(port))

    def resolved(self) -> tuple[AddressFamily, "Address"]:
        """The same by its number.

        Raises:
            OSError: When there is no such host.
        """
        family, _, _, _, found = getaddrinfo(self.host, self.port, type=SOCK_STREAM)[0]
        return family, Address(str(found[0]), self.port)

    def check(self) -> None:
        """See whether one can listen there.

        Raises:
            OSError: When one cannot.
        """
        family, number = self.resolved()
        with socket(family) as probe:
            probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            probe.bind(tuple(number))
            probe.listen()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a worker answers; None means nowhere.

    Args:
        metrics: To Prometheus.
        health: To those who ask whether it is well.
        names: What said each of them, for errors.
    """

    metrics: Address | None = None
    health: Address | None = None
    names: tuple[str, str] = (METRICS, HEALTH)

    @classmethod
    def load(cls, metrics: str | None = None, health: str | None = None) -> "Endpoints":
        """What is given, else what ``METTA_SWEEP_METRICS`` and ``METTA_SWEEP_HEALTH`` say.

        Raises:
            DefinitionError: With every mistake.
        """
        names = ("--metrics" if metrics else METRICS, "--health" if health else HEALTH)
        texts = (metrics or os.environ.get(METRICS), health or os.environ.get(HEALTH))
        where_metrics, where_health = _parsed(dict(zip(names, texts, strict=True)))
        return cls(where_metrics, where_health, names)

    @classmethod
    def that_are_free(cls) -> "Endpoints":
        """Those of the environment at which one can listen; a warning in the log tells of others.

        For workers that nobody watches: all that one program launches have the same environment, and the
        first one of them takes the addresses.
        """
        try:
            said = cls.load()
        except DefinitionError as error:
            log.warning("nobody can look at this worker: %s", error)
            return cls()
        return cls(_if_free(METRICS, said.metrics), _if_free(HEALTH, said.health))


def _if_free(name: str, address: Address | None) -> Address | None:
    try:
        if address:
            address.check()
        return address
    except OSError as error:
        log.warning("this worker goes on without %s=%s: %s", name, address, error.strerror or error)
        return None


def _parsed(texts: Mapping[str, str | None]) -> list[Address | None]:
    addresses: list[Address | None] = []
    problems = []
    for name, text in texts.items():
        try:
            addresses.append(Address.parse(text) if text else None)
        except ValueError as error:
            problems.append(f"{name} {error}")
    if problems:
        raise DefinitionError(problems, "the worker")
    return addresses


def in_use(name: str, address: Address, error: object) -> DefinitionError:
    """The error of an address at which nothing can listen."""
    problem = f"nothing can listen at {address}: {error}. Give another one, or end what uses it"
    return DefinitionError([problem], name)
