"""Outcomes: an objective is called, and what comes of it is given a name."""

import os
from bdb import BdbQuit
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Literal, NamedTuple, TypeAlias

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import TrialInterrupted
from metta.sweep.contracts.failures import FailureKind
from metta.sweep.contracts.metrics import metrics_from
from metta.sweep.contracts.reports import sync
from metta.sweep.contracts.trials import Trial, running
from metta.sweep.runners.failures import failure_of

Answer: TypeAlias = Literal["go", "stop"]
Send: TypeAlias = Callable[[int, dict[str, float], str | None, bool], Answer]
"""Hands on a report ``(step, metrics, checkpoint, is_last)`` and returns the answer to it, if it is not the
last one of its attempt, to which there is none."""


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


class _Reporter:
    """Where the reports of one attempt go."""

    def __init__(self, attempt: Attempt, send: Send) -> None:
        self._attempt = attempt
        self._send = send
        self._lock = Lock()  # threads of the training code report, too
        self._is_over = False
        self.step: int | None = None
        self.checkpoint: Path | None = None
        self.end: Outcome | None = None

    def __call__(self, step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
        with self._lock:
            if not self._is_over and (self.step is None or step > self.step):
                self._report(step, metrics, checkpoint)
            if self._is_over:  # now, or before: training code may catch the interruption and go on
                raise TrialInterrupted

    def close(self) -> None:
        """Wait for the report that is under way, and let no other follow."""
        with self._lock:
            self._is_over = True

    def _report(self, step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
        if checkpoint is not None:
            checkpoint = Path(os.path.abspath(checkpoint))
            sync(checkpoint)  # durable before the record that names it
        until = self._attempt.until_step
        is_last = until is not None and step >= until  # the trial ends here, whatever the answer would be
        answer = self._send(step, metrics, str(checkpoint) if checkpoint else None, is_last)
        self.step = step
        self.checkpoint = checkpoint or self.checkpoint
        if is_last:
            last = str(self.checkpoint) if self.checkpoint else None
            self.end = Outcome("paused", step=step, checkpoint=last)
        elif answer == "stop":
            self.end = Outcome("stopped")
        self._is_over = self.end is not None


def outcome_of(attempt: Attempt, call: Callable[[Trial], Any], send: Send) -> Outcome:
    """Run an attempt to its end, whatever that is.

    Args:
        attempt: What to run.
        call: The objective.
        send: Where reports go.
    """
    if _has_come_to_its_pause(attempt):
        return Outcome("paused", step=attempt.step or 0)
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
            outcome = _returned(call(trial), reporter, attempt)
    except TrialInterrupted:
        outcome = Outcome("stopped")
    except (KeyboardInterrupt, BdbQuit):
        raise  # somebody at the keyboard of run(debug=True) wants out
    except BaseException as error:  # user code may raise anything, SystemExit included
        outcome = Outcome("failed", failure=failure_of(error))
    reporter.close()
    # one that was told to end has ended so, whatever it returned or raised after that
    return (reporter.end or outcome)._replace(seconds=monotonic() - began)


def _has_come_to_its_pause(attempt: Attempt) -> bool:
    """Whether the attempt before was killed between its last report and its end."""
    step, until = attempt.step, attempt.until_step
    return step is not None and until is not None and step >= until


def _returned(result: Any, reporter: _Reporter, attempt: Attempt) -> Outcome:
    metrics = metrics_from(result)
    # one that goes on from its last checkpoint may have nothing left to do or to report
    if metrics is None and reporter.step is None and attempt.step is None:
        message = "it returned nothing and reported nothing; return a number or a dict, or call trial.report"
        return Outcome("failed", failure=("no_result", message, ""))
    return Outcome("completed", metrics=metrics)
