"""Executors that tests of faults need: without processes, with a gate, and one that refuses everything."""

import json
import os
from pathlib import Path

from temporalio.exceptions import ApplicationError

from metta.sweep.contracts.jobs import JobEnd, JobSpec, JobState
from tests.workflows.no_process import NoProcess, Request

TRACEBACK_BYTES = 60_000


class Gated(NoProcess):
    """Jobs that end when somebody opens the gate.

    Args:
        max_parallel: Trials at the same time.
        gate: The file that opens it.
    """

    def __init__(self, gate: str, max_parallel: int = 16) -> None:
        super().__init__(max_parallel)
        self.gate = Path(gate)

    def observe(self, request: Request) -> JobState:
        return super().observe(request) if self.gate.exists() else JobState(status="running")


class Failing(Gated):
    """Jobs that fail with a long traceback when somebody opens the gate."""

    def submit(self, request: Request) -> None:
        os.makedirs(request.folder, exist_ok=True)
        failure = {"kind": "user", "message": "no luck", "traceback": "t" * TRACEBACK_BYTES + "\nlast"}
        Path(request.folder, "reports.jsonl").write_text(json.dumps({"failure": failure}) + "\n", "utf-8")

    def observe(self, request: Request) -> JobState:
        state = super().observe(request)
        return state if state.end is None else JobState(status="ended", end=JobEnd(code=1))


class Refusing(NoProcess):
    """The system that runs jobs takes none."""

    def build_request(self, spec: JobSpec) -> Request:
        return Request(folder=spec.attempt.folder, x=0)

    def submit(self, request: Request) -> None:
        raise ApplicationError("the quota of the cluster is 0", non_retryable=True)
