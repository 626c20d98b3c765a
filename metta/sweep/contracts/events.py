"""Events: the facts a search is told. Each has an id; a second event of the same id changes nothing."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.sweeps import SweepSpec

EventId: TypeAlias = tuple[str | int | float, ...]


class _Event(Wire):
    """A fact and the time it was recorded, in seconds since 1970."""

    at: float


class Created(_Event):
    """The sweep was defined; always the first event, and again when its definition is completed."""

    type: Literal["created"] = "created"
    spec: SweepSpec

    @property
    def id(self) -> EventId:
        """There is one definition."""
        return ("created",)


class Known(_Event):
    """A trial of an earlier sweep, of which the optimizer was told before all else; no trial of this one.

    Args:
        trial: Its number here, below 0.
        params: Its parameters.
        metrics: Its last numbers by name; empty when it failed.
        failure: Why it failed, or None.
        ended_at: The step at which it was paused or stopped; None for one that ran to its own end.
        seconds: How long it ran; 0 when nobody said.
        source: The warm start it comes from.
        left_out: Why the optimizer was not told of it after all; empty when it was.
    """

    type: Literal["known"] = "known"
    trial: int = Field(lt=0)
    params: dict[str, JsonValue]
    metrics: dict[str, float] = Field(default_factory=dict)
    failure: Failure | None = None
    ended_at: int | None = None
    seconds: float = 0.0
    source: str = ""
    left_out: str = ""

    @property
    def id(self) -> EventId:
        """One a trial."""
        return ("known", self.trial)


class Opened(_Event):
    """Somebody took the sweep over.

    Args:
        epoch: Counts the owners, from 1.
        control: The control in force.
        chain: The workflow that opened it for jobs, which need no session; empty for a session.
        adopts: Whether attempts that ran before go on; else they are over.
    """

    type: Literal["opened"] = "opened"
    epoch: int
    control: Control
    chain: str = ""
    adopts: bool = False

    @property
    def id(self) -> EventId:
        """One a epoch."""
        return ("opened", self.epoch)


class ControlChanged(_Event):
    """Somebody changed the budget or asked for the end."""

    type: Literal["control"] = "control"
    control: Control

    @property
    def id(self) -> EventId:
        """One a version of a workflow run."""
        return ("control", self.control.run, self.control.version)


class Tick(_Event):
    """Time passed; recorded only when a time budget has to be judged."""

    type: Literal["tick"] = "tick"

    @property
    def id(self) -> EventId:
        """Each is a fact of its own."""
        return ("tick", self.at)


class _AttemptEvent(_Event):
    """A fact about one attempt of one segment of a trial (segments count from 0, attempts from 1)."""

    trial: int
    segment: int = 0
    attempt: int = 1


class Reported(_AttemptEvent):
    """The attempt reported metrics, and perhaps a checkpoint, at a step."""

    type: Literal["reported"] = "reported"
    seq: int
    step: int
    metrics: dict[str, float]
    checkpoint: str | None = None

    @property
    def id(self) -> EventId:
        """Reports are numbered within their attempt."""
        return (self.trial, self.segment, self.attempt, self.seq)


class _AttemptEnded(_AttemptEvent):
    """The attempt is over; its first such event counts, later ones change nothing.

    Args:
        seconds: How long the attempt ran.
    """

    seconds: float = 0.0

    @property
    def id(self) -> EventId:
        """An attempt ends once."""
        return (self.trial, self.segment, self.attempt, "end")


class SegmentEnded(_AttemptEnded):
    """The segment reached its last step and the trial is paused."""

    type: Literal["segment_ended"] = "segment_ended"
    step: int
    checkpoint: str | None = None


class Completed(_AttemptEnded):
    """The trial is done. ``metrics`` is None when its last report is the result."""

    type: Literal["completed"] = "completed"
    metrics: dict[str, float] | None = None


class Failed(_AttemptEnded):
    """The attempt failed."""

    type: Literal["failed"] = "failed"
    failure: Failure


class Stopped(_AttemptEnded):
    """The attempt ended because it was told to."""

    type: Literal["stopped"] = "stopped"


AttemptEnded: TypeAlias = SegmentEnded | Completed | Failed | Stopped
TrialEvent: TypeAlias = Reported | AttemptEnded
Event: TypeAlias = Annotated[
    Created | Known | Opened | ControlChanged | Tick | TrialEvent, Field(discriminator="type")
]
