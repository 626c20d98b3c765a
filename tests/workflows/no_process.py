"""An executor whose jobs have ended as soon as they begin: what is left is the lane."""

import os
from pathlib import Path

from pydantic import BaseModel

from metta.sweep.contracts.jobs import JobEnd, JobSpec, JobState
from metta.sweep.executors.base import JobExecutor

REPORT = '{{"step": 1, "metrics": {{"accuracy": {x}}}}}\n'


class Request(BaseModel):
    """A job that does nothing."""

    folder: str
    x: float


class NoProcess(JobExecutor[Request]):
    """Each trial reports its parameter.

    Args:
        max_parallel: Trials at the same time.
    """

    def __init__(self, max_parallel: int = 16) -> None:
        self.max_parallel = max_parallel

    def build_request(self, spec: JobSpec) -> Request:
        x = spec.attempt.params["x"]
        assert isinstance(x, float)
        return Request(folder=spec.attempt.folder, x=x)

    def submit(self, request: Request) -> None:
        os.makedirs(request.folder, exist_ok=True)
        Path(request.folder, "reports.jsonl").write_text(REPORT.format(x=request.x), "utf-8")

    def observe(self, request: Request) -> JobState:
        return JobState(status="ended", end=JobEnd(code=0))

    def stop(self, request: Request) -> None:
        """It has ended."""
