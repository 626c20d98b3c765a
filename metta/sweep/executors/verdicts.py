"""Verdicts: how an attempt ended, by what its executor, its exit code and its reports say."""

import signal

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, SegmentEnded, Stopped
from metta.sweep.contracts.failures import EVIDENCE_CHARS, FROM_OUTSIDE, Failure, FailureKind
from metta.sweep.contracts.jobs import INTERRUPTED, JobEnd
from metta.sweep.executors.reports import Reports

NO_RESULT = "it exited with code 0 and has reported nothing; append a line to the file of reports"


def verdict(attempt: Attempt, end: JobEnd, reports: Reports, tail: str, at: float) -> AttemptEnded:
    """How an attempt ended.

    Args:
        attempt: The attempt.
        end: How its job ended.
        reports: All that it has reported.
        tail: The end of what it printed: evidence of a failure.
        at: When that was found out, in seconds since 1970.
    """
    ended = {
        "at": at,
        "trial": attempt.trial,
        "segment": attempt.segment,
        "attempt": attempt.attempt,
        "seconds": end.seconds,
    }
    if _has_come_to_its_pause(attempt, reports):  # whatever it did after that
        step = attempt.step if reports.step is None else reports.step
        return SegmentEnded(step=step or 0, checkpoint=reports.checkpoint, **ended)
    if end.kind == "cancelled":
        return Stopped(**ended)
    failure = reports.failure or _failure(attempt, end, reports)
    if failure is None:
        return Completed(metrics=reports.result, **ended)
    evidence = (failure.traceback or tail)[-EVIDENCE_CHARS:]
    return Failed(failure=failure.model_copy(update={"traceback": evidence}), **ended)


def _has_come_to_its_pause(attempt: Attempt, reports: Reports) -> bool:
    until, step = attempt.until_step, attempt.step if reports.step is None else reports.step
    return until is not None and step is not None and step >= until


def _failure(attempt: Attempt, end: JobEnd, reports: Reports) -> Failure | None:
    if end.kind is not None:
        return Failure(kind=end.kind, message=end.message or f"its executor says: {end.kind}")
    if end.code == INTERRUPTED:
        return Failure(kind="infra", message="somebody else told it to end; it goes on from its checkpoint")
    if end.code == 0:
        # one that goes on from its last checkpoint may have nothing left to do or to report
        has_result = reports.result is not None or reports.step is not None or attempt.step is not None
        return None if has_result else Failure(kind="no_result", message=NO_RESULT)
    return Failure(kind=_kind(end), message=end.message or _message(end))


def _kind(end: JobEnd) -> FailureKind:
    return "infra" if end.signal in FROM_OUTSIDE else "user"


def _message(end: JobEnd) -> str:
    if end.signal is None:
        return f"it exited with code {end.code}"
    return f"it died of signal {end.signal} ({signal.strsignal(end.signal) or 'unknown'})"
