"""Attempts: what is handed to those who run trials, and what comes back from them."""

from pathlib import Path

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import Reported, SegmentEnded, TrialEvent
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.trials import Resources
from metta.sweep.stores.base import Workplace


def attempt_of(record: TrialRecord, folder: str, resources: Resources) -> Attempt:
    """The last attempt of a trial.

    Args:
        record: The trial.
        folder: Path or address of the sweep's folder, below which attempts have theirs.
        resources: What it needs, unless its record says otherwise.
    """
    return Attempt(
        trial=record.number,
        segment=record.segment,
        attempt=record.attempt,
        params=record.params,
        seed=record.seed,
        folder=f"{folder}/{record.key}",
        until_step=record.until_step,
        step=record.step,
        resume_from=_within(folder, record.checkpoint) if record.checkpoint else None,
        resources=record.resources or resources,
    )


def _within(folder: str, checkpoint: str) -> str:
    return checkpoint if Path(checkpoint).is_absolute() else f"{folder}/{checkpoint}"


def portable(event: TrialEvent, workplace: Workplace) -> TrialEvent:
    """An event whose checkpoint in the sweep's folder is named relative to it, so that it can be moved."""
    if not isinstance(event, Reported | SegmentEnded) or event.checkpoint is None:
        return event
    name = workplace.name_of(event.checkpoint)
    return event if name is None else event.model_copy(update={"checkpoint": name})


def attempt_here(attempt: Attempt, workplace: Workplace) -> Attempt:
    """An attempt whose paths are those of this machine."""
    if workplace.is_shared:
        return attempt
    resume_from = attempt.resume_from and workplace.here(attempt.resume_from)
    return attempt.model_copy(update={"folder": workplace.here(attempt.folder), "resume_from": resume_from})
