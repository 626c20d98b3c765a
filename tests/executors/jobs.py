"""Jobs of the local executor: how they are asked for, what their folders say, and how they are destroyed."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.jobs import Job, JobEnd, JobSpec
from metta.sweep.contracts.trials import Resources
from metta.sweep.executors.base import JobExecutor
from metta.sweep.executors.claims import start_time
from metta.sweep.executors.local import LocalExecutor, LocalRequest

PATIENCE_S = 20.0


def spec_of(folder: Path, *command: str, resources: Resources | None = None, **limits: Any) -> JobSpec:
    """What is asked for: a command, or a shell script when it is one word."""
    job = limits.pop("job", None) or Job(command=command if len(command) > 1 else ("sh", "-c", *command))
    attempt = Attempt(trial=0, params={}, seed=1, folder=str(folder), resources=resources or Resources())
    return JobSpec(sweep_id="digits", job=job, attempt=attempt, **limits)


def submit(folder: Path, *command: str, executor: LocalExecutor | None = None, **asked: Any) -> LocalRequest:
    """Submit a job."""
    executor = executor or LocalExecutor()
    request = executor.build_request(spec_of(folder, *command, **asked))
    executor.submit(request)
    return request


def end_of(request: LocalRequest) -> JobEnd:
    """How a job has ended, as soon as it has."""
    until(lambda: LocalExecutor().observe(request).status == "ended")
    end = LocalExecutor().observe(request).end
    assert end is not None
    return end


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is the case."""
    deadline = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < deadline
        sleep(0.01)


def supervisor_of(folder: Path) -> int:
    """The process that looks after a job."""
    return int(json.loads((folder / "claim" / "supervisor.json").read_bytes())["pid"])


def process_of(folder: Path) -> int:
    """The process of a job, as soon as it runs."""
    until((folder / "started.json").exists)
    return int(json.loads((folder / "started.json").read_bytes())["job"]["pid"])


def kill_supervisor(executor: JobExecutor[Any], spec: JobSpec) -> None:
    """Let a job vanish without a trace."""
    os.kill(supervisor_of(Path(spec.attempt.folder)), signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    return start_time(pid) is not None


def group_of(pid: int) -> set[int]:
    """The processes of a group that are alive."""
    found = set()
    for process in psutil.pids():
        try:
            if os.getpgid(process) == pid and is_alive(process):
                found.add(process)
        except ProcessLookupError:
            continue
    return found
