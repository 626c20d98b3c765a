"""Lineage: which checkpoints of a sweep its trials need, and which nobody does.

A trial needs the last one that is recorded of it, so that it can go on from there, or because that is the
trained model; a failed trial needs none. It may lie in the folder of an earlier attempt, or of another trial
that it was begun with.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.events import Reported, SegmentEnded
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.trials import CHECKPOINTS
from metta.sweep.stores.base import Workplace

Last = tuple[AttemptKey, bool]
"""The last attempt of a trial, and whether the trial has failed."""


def needed_by(record: TrialRecord) -> str | None:
    """The checkpoint that a trial needs now; None when it needs none."""
    return record.checkpoint if record.status != "failed" else None


def last_of(records: Iterable[TrialRecord]) -> list[Last]:
    """The last attempts of trials, by their numbers."""
    return [(record.key, record.status == "failed") for record in records]


def is_needed(checkpoint: str, users: Mapping[str, Iterable[str]]) -> bool:
    """Whether a trial needs a checkpoint or something that shares files with it, or it is the user's own.

    Args:
        checkpoint: Its name.
        users: Checkpoints that trials need, by attempt.
    """
    attempt = attempt_of(checkpoint)
    needed = users.get(attempt, ())
    return not attempt or any(_share_files(PurePath(checkpoint), PurePath(other)) for other in needed)


def left_behind(
    workplace: Workplace, last: Sequence[Last], in_use: frozenset[str], elsewhere: Sequence[Path]
) -> Iterator[str]:
    """Folders of attempts that came to nothing, or whose trial has gone on in another one.

    Args:
        workplace: Where the sweep's attempts work.
        last: The last attempt of each trial.
        in_use: Attempts of which a trial needs a checkpoint.
        elsewhere: Checkpoints that trials need and that are not named by an attempt. Links may lead
            there and back.
    """
    for attempt in workplace.attempts(CHECKPOINTS):
        left = workplace.path / attempt / CHECKPOINTS
        with suppress(ValueError, IndexError):  # somebody else's
            key = key_of(attempt)
            its_last, has_failed = last[key.trial]
            is_left = key < its_last or (key == its_last and has_failed)
            if is_left and attempt not in in_use and not _is_among(left.resolve(), elsewhere):
                yield f"{attempt}/{CHECKPOINTS}"


def needless(workplace: Workplace, records: Sequence[TrialRecord], recorded: Iterable[str]) -> Iterator[str]:
    """All that lies in a sweep's folder of checkpoints that no trial needs, by its name.

    Args:
        workplace: Where the sweep's attempts work.
        records: Its trials.
        recorded: Every checkpoint that was ever recorded of them.
    """
    users: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if needed := needed_by(record):
            users[attempt_of(needed)].add(needed)
    elsewhere = [(workplace.path / named).resolve() for named in users.get("", ())]
    gone = set()
    for left in left_behind(workplace, last_of(records), frozenset(users), elsewhere):
        gone.add(attempt_of(f"{left}/"))
        yield left
    for checkpoint in sorted(set(recorded)):
        path = workplace.path / checkpoint
        if attempt_of(checkpoint) in gone or not _is_ours(checkpoint) or is_needed(checkpoint, users):
            continue
        if (path.exists() or path.is_symlink()) and not _is_among(path.resolve(), elsewhere):
            yield checkpoint


def checkpoints_in(chunk: Chunk) -> Iterator[str]:
    """The checkpoints that a chunk of a ledger records."""
    for event in chunk.events:
        if isinstance(event, Reported | SegmentEnded) and event.checkpoint:
            yield event.checkpoint


def attempt_of(checkpoint: str) -> str:
    """The attempt in whose folder a checkpoint lies; empty when it lies elsewhere, and is the user's own."""
    parts = PurePath(checkpoint).parts
    return "/".join(parts[:4]) if parts[:1] == ("trials",) and len(parts) > 4 else ""


def key_of(attempt: str) -> AttemptKey:
    """The key that is written like this.

    >>> key_of("trials/7/seg-0/try-2")
    AttemptKey(trial=7, segment=0, attempt=2)
    """
    _, trial, segment, attempt = attempt.split("/")
    return AttemptKey(int(trial), int(segment.removeprefix("seg-")), int(attempt.removeprefix("try-")))


def _is_ours(checkpoint: str) -> bool:
    """Whether a checkpoint lies in the folder of an attempt, for certain."""
    attempt = attempt_of(checkpoint)
    with suppress(ValueError):
        return ".." not in PurePath(checkpoint).parts and str(key_of(attempt)) == attempt
    return False


def _is_among(folder: Path, checkpoints: Iterable[Path]) -> bool:
    return any(_share_files(folder, checkpoint) for checkpoint in checkpoints)


def _share_files(one: PurePath, other: PurePath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
