"""Attempts: what is handed to those who run trials, and what comes back from them."""

from pathlib import Path

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.events import Reported, SegmentEnded, TrialEvent
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.trials import Resources


def attempt_of(record: TrialRecord, folder: Path, resources: Resources) -> Attempt:
    """The last attempt of a trial.

    Args:
        record: The trial.
        folder: The sweep's folder, below which attempts have theirs.
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
        # joined to an absolute path, the folder is dropped
        resume_from=str(folder / record.checkpoint) if record.checkpoint else None,
        resources=record.resources or resources,
    )


def portable(event: TrialEvent, folder: Path) -> TrialEvent:
    """An event whose checkpoint below the sweep's folder is named relative to it, so that it can be moved."""
    if not isinstance(event, Reported | SegmentEnded) or event.checkpoint is None:
        return event
    path = Path(event.checkpoint)
    # training code may have followed a link to the store; a checkpoint may be a link itself
    path = path.parent.resolve() / path.name
    root = folder.resolve()
    if not path.is_relative_to(root):
        return event
    return event.model_copy(update={"checkpoint": path.relative_to(root).as_posix()})
