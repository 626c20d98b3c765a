"""What all executors promise to those who run trials, on a real server: jobs, and objectives on workers."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from metta.sweep.activities import trials
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.testing import AttemptSubject, TrialWorkflows, attempt_conformance
from metta.sweep.testing import attempts as checks
from tests.executors.jobs import supervisor_of
from tests.rig import Rig, standing
from tests.worker.processes import worker
from tests.workflows.faults import brisk

each = pytest.mark.parametrize("check", attempt_conformance)


@pytest.fixture
async def attending(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """A worker in this process, which attends jobs."""
    monkeypatch.setattr(trials, "GRACE_S", 1.0)
    async with brisk(server, tmp_path / "rig") as rig:
        yield rig


class Machines:
    """Workers that run objectives, one at a time, each as a process that can die."""

    def __init__(self, rig: Rig, server: Settings, stack: ExitStack) -> None:
        self.rig, self._server, self._stack = rig, server, stack
        self._process: subprocess.Popen[bytes] | None = None
        self.begin()

    def begin(self) -> None:
        """Begin one."""
        self._process = self._stack.enter_context(worker(self.rig, self._server))

    async def die(self, attempt: Attempt) -> None:
        """Kill the one there is, and begin another one."""
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.begin()


@pytest.fixture
async def machines(server: Settings, tmp_path: Path) -> AsyncIterator[Machines]:
    with ExitStack() as stack:
        yield Machines(await standing(server, tmp_path / "rig"), server, stack)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "attempts"
    made.mkdir()
    return made


async def kill_supervisor(attempt: Attempt) -> None:
    """Let a job vanish without a trace."""
    os.kill(supervisor_of(Path(attempt.folder)), signal.SIGKILL)


@each
async def test_jobs_on_this_machine_keep_the_promises_of_all_executors(
    check: checks.AttemptCheck, attending: Rig, folder: Path
) -> None:
    runner = TrialWorkflows(attending.client, attending.queue, {"type": "local"})
    await check(AttemptSubject(runner, folder, kill_supervisor))


@each
async def test_objectives_on_workers_keep_the_promises_of_all_executors(
    check: checks.AttemptCheck, machines: Machines, folder: Path
) -> None:
    runner = TrialWorkflows(machines.rig.client, machines.rig.queue, {"type": "worker"})
    await check(AttemptSubject(runner, folder, machines.die))
