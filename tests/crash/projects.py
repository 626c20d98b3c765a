"""Projects: a folder with its server, its workers and their runners, seen and killed from outside."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from subprocess import DEVNULL, PIPE, Popen
from time import monotonic, sleep

import psutil

from tests.crash.evidence import Evidence

GONE_S = 2.0
"""Killed processes hold no lock any more by then."""

TRAINING = str(Path(__file__).with_name("training.py"))


class Project:
    """A folder in which `sweep` commands are given.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / ".metta-sweep"

    def evidence(self, name: str) -> Evidence:
        """What is left of a sweep."""
        return Evidence(name, self.store)

    def command(self, *arguments: str) -> list[str]:
        """A `sweep` command as the system is given it."""
        return [str(Path(sys.executable).with_name("sweep")), *arguments]

    @contextmanager
    def beginning(self, *arguments: str, **environment: str) -> Iterator[Popen[str]]:
        """A `sweep` command that is under way; it does not outlive this block."""
        with Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=os.environ | environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
        ) as command:
            try:
                yield command
            finally:
                command.kill()

    def sweep(self, *arguments: str, **environment: str) -> str:
        """Run a `sweep` command, which has to succeed, and return what it prints."""
        with self.beginning(*arguments, **environment) as command:
            out, err = command.communicate()
        assert command.returncode == 0, err
        return out

    def run(self, name: str, budget: int, *options: str) -> tuple[str, ...]:
        """The arguments that train in a sweep of this name, or go on with it."""
        return ("run", TRAINING, "--name", name, "--budget", str(budget), "--resume", *options)

    # --- processes ---

    def server(self) -> list[int]:
        """The Temporal server."""
        return _found(lambda command: "start-dev" in command and str(self.store) in " ".join(command))

    def minder(self) -> list[int]:
        """The program that looks after the server."""
        return _found(
            lambda command: "minder.py" in " ".join(command) and str(self.store) in " ".join(command)
        )

    def workers(self, *names: str) -> list[int]:
        """The workers of some sweeps."""
        return _found(
            lambda command: "--launch" in command and str(self.store) in command and {*names} & {*command}
        )

    def runners(self, name: str) -> list[int]:
        """The runner processes of a sweep, below its worker."""
        children = [child for pid in self.workers(name) for child in _children(pid)]
        return [child.pid for child in children if "metta.sweep.runners.runner" in _command(child)]


def kill(*pids: int) -> None:
    """End processes at once; they have to live.

    They are gone when this returns: on a busy machine that takes a moment, in which they still hold their
    locks, and a command that is called in this process would be there sooner than any that is typed.
    """
    assert pids, "there is nobody to kill"
    dying = []
    for pid in pids:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            dying.append(psutil.Process(pid))
            os.kill(pid, signal.SIGKILL)
    deadline = monotonic() + GONE_S
    while any(map(_lives, dying)) and monotonic() < deadline:
        sleep(0.002)


def moments(seed: int) -> list[tuple[float, float]]:
    """Ten random moments spread over a sweep: after which share of its reports, and how long after that."""
    rng = Random(seed)
    return [((tenth + rng.random()) / 10, rng.uniform(0.0, 0.025)) for tenth in range(10)]


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _found(is_it: Callable[[list[str]], object]) -> list[int]:
    return [process.pid for process in psutil.process_iter() if is_it(_command(process))]


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children()
    return []


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []
