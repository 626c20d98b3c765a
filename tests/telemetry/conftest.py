"""What tests of telemetry share: programs that run in a process of their own, and a worker of one's own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from metta.sweep.client.launches import Launches
from metta.sweep.client.settings import Settings
from tests.rig import pid_in
from tests.telemetry.collector import Collector, collecting

PATIENCE_S = 30.0


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of traces."""
    with collecting() as collector:
        yield collector


def until(is_so: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < deadline, what
        sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(folder: Path, text: str, environment: dict[str, str]) -> None:
    """Run a program to its end, which is to be a good one."""
    with running(folder, text, environment) as process:
        _, said = process.communicate(timeout=50)
        assert process.returncode == 0, said


@contextmanager
def running(folder: Path, text: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program that runs in a folder."""
    (folder / "program.py").write_text(text, "utf-8")
    yield from _process([sys.executable, "program.py"], folder, environment)


@contextmanager
def worker(
    folder: Path, settings: Settings, environment: dict[str, str], *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """A worker for all code, which serves the queue ``metta-sweep`` of a server; it is told to end."""
    target = {
        "TEMPORAL_ADDRESS": str(settings.connect["target_host"]),
        "TEMPORAL_NAMESPACE": str(settings.connect["namespace"]),
    }
    allowed = ("--allow=commands", "--allow=scripts", "--allow=by-value")
    command = [sys.executable, "-m", "metta.sweep.worker", "*", *allowed, *arguments]
    yield from _process(command, folder, {**target, **environment})


def _process(
    command: list[str], folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    with (folder / "stderr.txt").open("a") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=errors if "-m" in command else subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=30)


def kill_worker(folder: Path, launch: str) -> None:
    """End the detached worker of a launch as a crash does."""
    launches = Launches(folder / ".metta-sweep")
    until(lambda: launches.is_alive(launch), "the worker is not there")
    os.kill(pid_in(launches.lock(launch)), signal.SIGKILL)
