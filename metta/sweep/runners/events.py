"""Events of attempts, made of what their runners say."""

from time import time
from typing import Any

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, Reported, SegmentEnded, Stopped
from metta.sweep.contracts.failures import Failure
from metta.sweep.runners.outcome import Outcome


def reported(
    attempt: Attempt, seq: int, step: int, metrics: dict[str, float], checkpoint: str | None
) -> Reported:
    """The event that records a report."""
    return Reported(**_of(attempt), seq=seq, step=step, metrics=metrics, checkpoint=checkpoint)


def ended(attempt: Attempt, outcome: Outcome) -> AttemptEnded:
    """The event that records how an attempt ended."""
    base: dict[str, Any] = {**_of(attempt), "seconds": round(outcome.seconds, 6)}
    if outcome.failure:
        kind, message, traceback = outcome.failure
        return Failed(**base, failure=Failure(kind=kind, message=message, traceback=traceback))
    if outcome.kind == "paused":
        return SegmentEnded(**base, step=outcome.step, checkpoint=outcome.checkpoint)
    return Stopped(**base) if outcome.kind == "stopped" else Completed(**base, metrics=outcome.metrics)


def _of(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": time(),
        "trial": attempt.trial,
        "segment": attempt.segment,
        "attempt": attempt.attempt,
    }
