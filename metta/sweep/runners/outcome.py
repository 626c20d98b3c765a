"""Outcomes: an objective is called, and what comes of it is given a name."""

import os
from bdb import BdbQuit
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from time import monotonic, time
from traceback import extract_tb, format_exception_only, format_list
from typing import Any, Literal, NamedTuple, TypeAlias

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import BadMetric, Infeasible, TrialInterrupted
from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, Reported, SegmentEnded, Stopped
from metta.sweep.contracts.failures import Failure, FailureKind
from metta.sweep.contracts.metrics import metrics_from
from metta.sweep.contracts.trials import Trial, running

TRACEBACK_CHARS = 8000

Answer: TypeAlias = Literal["go", "stop"]
Send: TypeAlias = Callable[[int, dict[str, float], str | None], Answer]
"""Hands on a report ``(step, metrics, checkpoint)`` and returns the answer to it."""


class Outcome(NamedTuple):
    """How an attempt ended, as plain data that travels between processes.

    Args:
        kind: ``completed``, ``paused``, ``stopped`` or ``failed``.
        seconds: How long it ran.
        metrics: What it returned.
        step: Its last step, when it was paused there.
        checkpoint: Its last checkpoint, when it was paused.
        failure: Kind, message and traceback of its failure.
    """

    kind: Literal["completed", "paused", "stopped", "failed"]
    seconds: float = 0.0
    metrics: dict[str, float] | None = None
    step: int = 0
    checkpoint: str | None = None
    failure: tuple[FailureKind, str, str] | None = None

    def event(self, attempt: Attempt, at: float) -> AttemptEnded:
        """The event that records it."""
        base: dict[str, Any] = {
            "at": at,
            "trial": attempt.trial,
            "segment": attempt.segment,
            "attempt": attempt.attempt,
            "seconds": round(self.seconds, 6),
        }
        if self.failure:
            kind, message, traceback = self.failure
            return Failed(**base, failure=Failure(kind=kind, message=message, traceback=traceback))
        if self.kind == "paused":
            return SegmentEnded(**base, step=self.step, checkpoint=self.checkpoint)
        return Stopped(**base) if self.kind == "stopped" else Completed(**base, metrics=self.metrics)


class _Reporter:
    """Where the reports of one attempt go."""

    def __init__(self, attempt: Attempt, send: Send) -> None:
        self._attempt = attempt
        self._send = send
        self.step: int | None = None
        self.checkpoint: str | None = None
        self.end: Literal["paused", "stopped"] | None = None

    def __call__(self, step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
        if self.end:  # training code that caught the interruption and went on
            raise TrialInterrupted
        if self.step is not None and step <= self.step:
            return
        self.step = step
        if checkpoint is not None:
            checkpoint = checkpoint.absolute()
            sync(checkpoint)  # durable before the record that names it
        answer = self._send(step, metrics, str(checkpoint) if checkpoint else None)
        if checkpoint is not None:
            self._supersede(checkpoint)
        until = self._attempt.until_step
        if answer == "stop":
            self.end = "stopped"
        elif until is not None and step >= until:
            self.end = "paused"
        if self.end:
            raise TrialInterrupted

    def _supersede(self, checkpoint: Path) -> None:
        """Keep the last recorded checkpoint of this attempt; nobody goes on from the ones before."""
        before = Path(self.checkpoint) if self.checkpoint else None
        self.checkpoint = str(checkpoint)
        if before in (None, checkpoint) or not before.is_relative_to(self._attempt.folder):
            return
        if before.is_dir():
            rmtree(before)
        else:
            before.unlink(missing_ok=True)


def outcome_of(attempt: Attempt, call: Callable[[Trial], Any], send: Send) -> Outcome:
    """Run an attempt to its end, whatever that is.

    Args:
        attempt: What to run.
        call: The objective.
        send: Where reports go.
    """
    reporter = _Reporter(attempt, send)
    trial = Trial(
        attempt.params,
        attempt.trial,
        attempt.seed,
        attempt=attempt.attempt,
        resources=attempt.resources,
        until_step=attempt.until_step,
        resume_from=Path(attempt.resume_from) if attempt.resume_from else None,
        folder=Path(attempt.folder),
        report_to=reporter,
    )
    began = monotonic()
    try:
        with running(trial):
            returned = call(trial)
        ended = _ended(reporter, returned)
    except TrialInterrupted:
        ended = Outcome(reporter.end or "stopped", step=reporter.step or 0, checkpoint=reporter.checkpoint)
    except (KeyboardInterrupt, BdbQuit):
        raise  # somebody at the keyboard of run(debug=True) wants out; runner processes ignore Ctrl-C
    except BaseException as error:  # user code may raise anything, SystemExit included
        ended = Outcome("failed", failure=failure_of(error))
    return ended._replace(seconds=monotonic() - began)


def _ended(reporter: _Reporter, returned: Any) -> Outcome:
    if reporter.end:  # it caught the interruption and returned
        return Outcome(reporter.end, step=reporter.step or 0, checkpoint=reporter.checkpoint)
    metrics = metrics_from(returned)
    if metrics is None and reporter.step is None:
        message = "it returned nothing and reported nothing; return a number or a dict, or call trial.report"
        return Outcome("failed", failure=("no_result", message, ""))
    return Outcome("completed", metrics=metrics)


def failure_of(error: BaseException) -> tuple[FailureKind, str, str]:
    """Kind, message and traceback of an exception that an objective raised."""
    message = "".join(format_exception_only(error)).strip()
    if isinstance(error, Infeasible):
        return "infeasible", str(error) or "infeasible", ""
    if isinstance(error, BadMetric):
        return "bad_metric", str(error), _traceback(error)
    return ("oom" if isinstance(error, MemoryError) else "user"), message, _traceback(error)


def _traceback(error: BaseException) -> str:
    """The frames of the user's code: those above the call of the objective are ours."""
    own = str(Path(__file__).parents[1])
    frames = extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(own)]
    text = "".join([*format_list(theirs), *format_exception_only(error)])
    return text[-TRACEBACK_CHARS:]


def reported(
    attempt: Attempt, seq: int, step: int, metrics: dict[str, float], checkpoint: str | None
) -> Reported:
    """The event that records a report."""
    return Reported(
        at=time(),
        trial=attempt.trial,
        segment=attempt.segment,
        attempt=attempt.attempt,
        seq=seq,
        step=step,
        metrics=metrics,
        checkpoint=checkpoint,
    )


def sync(path: Path) -> None:
    """Make a file, or all files of a folder, durable.

    Raises:
        FileNotFoundError: When there is no such file.
    """
    for file in [path, *(path.rglob("*") if path.is_dir() else ()), path.parent]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
