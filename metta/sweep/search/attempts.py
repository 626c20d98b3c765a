"""Attempts: what is handed to those who run trials, and what comes back from them."""

from collections.abc import Sequence
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


def with_kept(events: Sequence[TrialEvent], workplace: Workplace) -> list[TrialEvent]:
    """Events of an attempt, without checkpoints when the last one could not be kept.

    Only the last one that is told at once is kept, and the one before it is needed as long as no other one is
    recorded.
    """
    named = [e.checkpoint for e in events if isinstance(e, Reported | SegmentEnded) and e.checkpoint]
    if workplace.is_shared or not named or Path(named[-1]).is_absolute() or workplace.has(named[-1]):
        return [*events]
    without = {"checkpoint": None}
    return [e.model_copy(update=without) if isinstance(e, Reported | SegmentEnded) else e for e in events]


def attempt_here(attempt: Attempt, workplace: Workplace) -> Attempt:
    """An attempt whose paths are those of this machine."""
    if workplace.is_shared:
        return attempt
    resume_from = attempt.resume_from and workplace.here(attempt.resume_from)
    return attempt.model_copy(update={"folder": workplace.here(attempt.folder), "resume_from": resume_from})
