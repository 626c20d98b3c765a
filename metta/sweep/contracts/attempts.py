"""Attempts: what an executor is handed to run."""

from typing import NamedTuple

from pydantic import JsonValue

from metta.sweep.contracts.consent import Consent
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.trials import Resources

LOG = "log.txt"
"""File in an attempt's folder, for what it prints."""

LOGS = "logs"
"""Folder in that of an experiment, with a file for what each of its stages prints."""


class AttemptKey(NamedTuple):
    """Which attempt: the name under which its effects are told apart."""

    trial: int
    segment: int
    attempt: int

    def __str__(self) -> str:
        """The attempt's folder below that of its sweep.

        >>> str(AttemptKey(trial=7, segment=0, attempt=2))
        'trials/7/seg-0/try-2'
        """
        return f"trials/{self.trial}/seg-{self.segment}/try-{self.attempt}"

    def workflow_id(self, sweep_id: str) -> str:
        """Id of the workflow ``Trial`` that sees to it.

        >>> AttemptKey(trial=7, segment=0, attempt=2).workflow_id("digits")
        'digits/trial-7/seg-0/try-2'
        """
        return f"{sweep_id}/trial-{self.trial}/seg-{self.segment}/try-{self.attempt}"

    def experiment_id(self, sweep_id: str) -> str:
        """Name of the experiment that the trial is, if it is one; all attempts go on with the same.

        >>> AttemptKey(trial=7, segment=0, attempt=2).experiment_id("digits")
        'digits/trial-7/experiment'
        """
        return f"{sweep_id}/trial-{self.trial}/experiment"


class Attempt(Wire):
    """One attempt of one segment of a trial (segments count from 0, attempts from 1).

    Args:
        folder: Absolute path of the attempt's own folder; made when something is written to it.
        until_step: Last step of the segment; None lets it run to its own end.
        step: Last step that is recorded, or None.
        resume_from: Absolute path of the checkpoint to go on from.
        traceparent: Its span, in the words of W3C Trace Context; None where nobody traces.
    """

    trial: int
    segment: int = 0
    attempt: int = 1
    params: dict[str, JsonValue]
    seed: int
    folder: str
    until_step: int | None = None
    step: int | None = None
    resume_from: str | None = None
    resources: Resources = Resources()
    traceparent: str | None = None

    @property
    def key(self) -> AttemptKey:
        """Its name."""
        return AttemptKey(self.trial, self.segment, self.attempt)


class Code(Wire):
    """Where an objective's code is found, and how it would have been started by hand.

    Args:
        objective: Reference to the objective.
        argv: ``sys.argv`` while a script is imported.
        cwd: Working directory; None keeps the process's own.
        path: ``sys.path`` entries to put in front.
        value: File that holds the objective by value (cloudpickle), when the reference is a value.
        fingerprint: Changes when the objective's code does; empty when that is not known.
        consent: What the processes that use it may look up; None means everything.
    """

    objective: str
    argv: tuple[str, ...] = ()
    cwd: str | None = None
    path: tuple[str, ...] = ()
    value: str | None = None
    fingerprint: str = ""
    consent: Consent | None = None
