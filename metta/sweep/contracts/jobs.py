"""Jobs: programs that run as trials, and what executors say of them.

The protocol between a job and whoever observes it is files in the folder of its attempt, so that any language
can take part; ``docs/reference/jobs.md`` describes it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import shown
from metta.sweep.contracts.failures import FailureKind
from metta.sweep.contracts.models import Edge, Wire

TRIAL_VARIABLE = "METTA_SWEEP_TRIAL"
"""The environment variable that names the JSON file with everything a trial is told."""

REPORTS_VARIABLE = "METTA_SWEEP_REPORTS"
"""The environment variable that names the file to which a trial appends what it reports."""

TRACE_VARIABLE = "TRACEPARENT"
"""The environment variable that names the span of a trial, in the words of W3C Trace Context."""

INTERRUPTED = 75
"""Exit code of a trial that was told to end, and can go on later from its checkpoint (``EX_TEMPFAIL``)."""

PYTHON = "{python}"
"""Stands in a command for the Python interpreter of whoever runs it."""


def _words(data: Any) -> Any:
    if isinstance(data, list | tuple) and data and all(isinstance(word, str) for word in data):
        return tuple(data)
    raise ValueError(f"write a list of words, such as ['./train', '--fast'], got {shown(data)}")


class Job(Edge):
    """A program that runs as a trial, in whatever language it is written.

    Args:
        command: Program and arguments; ``{python}`` stands for the interpreter of whoever runs it.
        env: Environment variables besides those of the worker.
        cwd: Working directory; None means that of the program which defined the sweep.
        image: Container image, for executors that need one.
    """

    command: Annotated[Sequence[str], BeforeValidator(_words), AfterValidator(tuple)]
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    image: str | None = None


class JobSpec(Wire):
    """What an executor is asked to run: one attempt of one segment of a trial.

    Args:
        sweep_id: The sweep.
        job: The program.
        attempt: The attempt; its folder holds all files of the protocol.
        timeout_s: Longest run in seconds; None means no limit.
        grace_s: So long a job that is told to end may take to write a checkpoint, before it is killed.
        ledger_id: Which ledger wants it; its name bears that, so that no job of a deleted sweep is found.
    """

    sweep_id: str
    job: Job
    attempt: Attempt
    timeout_s: float | None = Field(default=None, gt=0)
    grace_s: float = Field(default=30.0, ge=0)
    ledger_id: str = ""

    @property
    def name(self) -> str:
        """The name that no other job has, the same for each try to submit it.

        >>> attempt = Attempt(trial=7, segment=1, attempt=2, params={}, seed=0, folder="/tmp")
        >>> JobSpec(sweep_id="digits", job=Job(command=["true"]), attempt=attempt).name
        'digits/trials/7/seg-1/try-2'
        """
        whose = f"~{self.ledger_id[:8]}" if self.ledger_id else ""
        return f"{self.sweep_id}/{self.attempt.key}{whose}"


def objective_from(data: Any) -> Any:
    """An objective as people write it: a script without a function's name is a program of its own.

    >>> objective_from("train.py")
    Job(command=('{python}', 'train.py'), env={}, cwd=None, image=None)
    >>> objective_from("train.py:objective")
    'train.py:objective'
    """
    is_script = isinstance(data, str) and data.endswith(".py") and ":" not in data
    return Job(command=(PYTHON, data)) if is_script else data


_THREADED = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


def thread_limits(threads: int) -> dict[str, str]:
    """Environment variables for libraries that else start as many threads as there are cores.

    >>> thread_limits(2)["OMP_NUM_THREADS"]
    '2'
    """
    return {f"{name}_NUM_THREADS": str(threads) for name in _THREADED}


def trials_queue(queue: str) -> str:
    """The task queue of those who run Python objectives for sweeps of another task queue.

    >>> trials_queue("digits")
    'digits-trials'
    """
    return f"{queue}-trials"


JobStatus: TypeAlias = Literal[
    "unknown",  # never submitted, as far as anybody can tell
    "waiting",  # submitted, and waits for its turn
    "running",
    "ended",
]


class JobEnd(Wire):
    """How a job's process ended, as its executor found out.

    Args:
        code: Its exit code; None when it did not exit by itself.
        signal: The signal that it died of.
        kind: The failure kind where the executor knows it for certain: ``oom``, ``timeout``, ``infra``,
            ``lost``, ``cancelled``; None leaves the verdict to exit code and reports.
        message: One sentence on it for people; empty when there is nothing to say.
        seconds: How long it ran.
    """

    code: int | None = None
    signal: int | None = None
    kind: FailureKind | None = None
    message: str = ""
    seconds: float = 0.0


class JobState(Wire):
    """What an executor knows of a job by now.

    Args:
        status: Whether it waits, runs or has ended.
        end: How it ended; None before.
        note: What it waits for, for people.
    """

    status: JobStatus
    end: JobEnd | None = None
    note: str = ""


class ReportLine(Wire):
    """A line of the reports' file: a report, the result, or a failure.

    Args:
        attempt: The attempt that wrote it; lines of others are passed over. None means this one.
        seq: Its number within the attempt, for readers; what counts is the order of the lines.
        step: Counts what was done so far; of a report.
        metrics: Finite numbers by name; of a report.
        checkpoint: Path from which the trial can go on after this step.
        result: Numbers by name, or one number; of the result.
        failure: Kind and message; of a trial that knows why it fails.
    """

    attempt: int | None = None
    seq: int | None = None
    step: int | None = None
    metrics: dict[str, Any] | None = None
    checkpoint: str | None = None
    result: Any = None
    failure: dict[str, Any] | None = None
