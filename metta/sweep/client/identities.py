"""Identities: how a worker is called in Temporal: its process, its machine, and the version it is of."""

import os
import re
import socket
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

PACKAGE = "metta-sweep"

_FORM = re.compile(rf"(?:(?P<pid>\d+)@)?(?P<host>\S+?)(?: {PACKAGE}/(?P<version>\S+))?")


@cache
def version_here() -> str:
    """The version of this package; ``unknown`` where it was not installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "unknown"


class Identity(NamedTuple):
    """What a worker says of itself.

    Args:
        pid: Its process; None where it says nothing of that.
        host: Its machine, or whatever else it is called.
        version: Which version of this package it is of; empty where it says nothing of that.
    """

    pid: int | None
    host: str
    version: str = ""

    @classmethod
    def here(cls) -> "Identity":
        """This process."""
        return cls(os.getpid(), socket.gethostname(), version_here())

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """What an identity says.

        >>> Identity.parse("17@lab metta-sweep/0.1.0")
        Identity(pid=17, host='lab', version='0.1.0')
        >>> Identity.parse("a worker of mine")
        Identity(pid=None, host='a worker of mine', version='')
        """
        match = _FORM.fullmatch(text)
        if match is None:
            return cls(None, text)
        return cls(int(match["pid"]) if match["pid"] else None, match["host"], match["version"] or "")

    def __str__(self) -> str:
        """As it is told to Temporal: the engine's own form, and the version behind it."""
        name = self.host if self.pid is None else f"{self.pid}@{self.host}"
        return f"{name} {PACKAGE}/{self.version}" if self.version else name

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine that has ended."""
        is_here = self.pid is not None and self.host == socket.gethostname()
        return is_here and not Path(f"/proc/{self.pid}").exists()
