"""Decisions: what a search wants done. Values, made by functions that see only data."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.trials import Resources

FinishReason: TypeAlias = Literal["budget", "time", "target", "exhausted", "stopped", "failed"]


class Start(Wire):
    """Begin a new trial.

    Args:
        until_step: Last step of its first segment; None lets it run to its own end.
        last: Whether the trial is complete at that step, instead of paused.
        parent: Number of the trial whose work it carries on.
        checkpoint_from: Checkpoint of that trial to begin from.
    """

    type: Literal["start"] = "start"
    trial: int
    params: dict[str, JsonValue]
    seed: int
    until_step: int | None = None
    last: bool = False
    resources: Resources | None = None
    parent: int | None = None
    checkpoint_from: str | None = None


class Resume(Wire):
    """Go on with a paused trial, from its checkpoint."""

    type: Literal["resume"] = "resume"
    trial: int
    segment: int
    until_step: int | None = None
    last: bool = False
    resources: Resources | None = None


class Stop(Wire):
    """End a running trial at its next report."""

    type: Literal["stop"] = "stop"
    trial: int


class Interrupt(Wire):
    """End the running attempt of a trial at its next report; another one goes on from its last checkpoint."""

    type: Literal["interrupt"] = "interrupt"
    trial: int


class Retry(Wire):
    """Run the segment again as another attempt, from its last checkpoint.

    Args:
        delay_s: Seconds to wait before.
        resources: What the trial needs from now on; None leaves it as it is.
    """

    type: Literal["retry"] = "retry"
    trial: int
    segment: int
    attempt: int
    delay_s: float = 0.0
    resources: Resources | None = None


class Finish(Wire):
    """The sweep is over, unless its budget grows. ``message`` tells why it failed."""

    type: Literal["finish"] = "finish"
    reason: FinishReason
    message: str = ""


Decision: TypeAlias = Annotated[
    Start | Resume | Stop | Interrupt | Retry | Finish, Field(discriminator="type")
]
