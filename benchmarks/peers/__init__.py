"""Peers: other systems at the same work, each in a process of its own; their trials note marks as ours do."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.marks import Mark, marks_of

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = "not installed"


class Peer(NamedTuple):
    """Another system at some work.

    Args:
        title: What people call it.
        library: What has to be installed for it.
        arguments: What ``python -m benchmarks.peers.with_<library>`` is to do.
        durable: Whether a result is on the disk before the next trial of its slot begins.
    """

    title: str
    library: str
    arguments: tuple[str, ...]
    durable: str = ""

    def marks(self) -> list[Mark]:
        """What its trials noted; nothing where it is not installed.

        Raises:
            RuntimeError: When it fails.
        """
        return marks_of(self._run) if find_spec(self.library) else []

    def _run(self) -> None:
        # one thread a slot, as our executor gives it
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", f"benchmarks.peers.with_{self.library}", *self.arguments]
        with TemporaryDirectory(prefix="peer-") as folder:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{self.title} failed:\n{done.stderr[-2000:]}")
