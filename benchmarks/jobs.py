"""Jobs: trivial trials a second when each is a job with a workflow of its own, beside the bare pattern."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import BaseModel

from benchmarks.bare import marks_of_children
from benchmarks.machine import markdown
from benchmarks.marks import marked, rate
from benchmarks.objectives import LINE
from benchmarks.project import marks_of_sweep, project
from metta.sweep import Job
from metta.sweep.contracts.jobs import JobEnd, JobSpec, JobState
from metta.sweep.executors import LocalExecutor
from metta.sweep.executors.base import JobExecutor
from metta.sweep.experiments import SweepExperiment

TRIALS = 300
WIDTH = 16

REPORT = """printf '{"step": 1, "metrics": {"loss": 0.5}}\\n' >> "$METTA_SWEEP_REPORTS" """


class Request(BaseModel):
    """A job that does nothing."""

    folder: str


class NoProcess(JobExecutor[Request]):
    """Its jobs have ended as soon as they begin: what is left is the lane."""

    max_parallel = WIDTH

    def build_request(self, spec: JobSpec) -> Request:
        return Request(folder=spec.attempt.folder)

    def submit(self, request: Request) -> None:
        with marked():
            os.makedirs(request.folder, exist_ok=True)
            Path(request.folder, "reports.jsonl").write_text(
                '{"step": 1, "metrics": {"loss": 0.5}}\n', "utf-8"
            )

    def observe(self, request: Request) -> JobState:
        return JobState(status="ended", end=JobEnd(code=0))

    def stop(self, request: Request) -> None:
        """It has ended."""


def table() -> str:
    """Jobs that are no processes, the engine's own pattern, and processes, in one run."""
    job = Job(command=["sh", "-c", REPORT])
    lane = SweepExperiment(job, LINE, metric="loss", executor=NoProcess(), seed=1)
    with project():
        without = rate(marks_of_sweep(lane, TRIALS))
        bare = rate(marks_of_children(TRIALS, WIDTH))
        processes = _processes()
    rows = [
        [f"the engine alone: child, activity, signal; {WIDTH} at a time", f"{bare:.1f}", "100 %"],
        [
            f"trials that are no processes; {WIDTH} at a time",
            f"{without:.1f}",
            f"{100 * without / bare:.0f} %",
        ],
        ["trials that are processes; 2 at a time", f"{processes:.1f}", ""],
    ]
    return markdown(["", "a second", ""], rows)


def _processes() -> float:
    """Each notes when it began; in the shell, for what is measured is not an interpreter's start."""
    with NamedTemporaryFile("r", prefix="began-") as file:
        job = Job(command=["sh", "-c", f"date +%s.%N >> {file.name}; {REPORT}"])
        sweep = SweepExperiment(job, LINE, metric="loss", executor=LocalExecutor(max_parallel=2), seed=1)
        marks_of_sweep(sweep, TRIALS // 3)
        began = sorted(map(float, file))
    return (len(began) - 1) / (began[-1] - began[0])
