"""Records: what is known of each trial, folded from the ledger."""

from dataclasses import dataclass, field
from typing import Any

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.sweeps import TrialStatus
from metta.sweep.contracts.trials import Resources

SUPERSEDED = 8
"""So many checkpoints of a trial at the most wait for their deletion."""


@dataclass(slots=True)
class TrialRecord:
    """A trial as the ledger tells it. Read it; only the fold writes.

    Args:
        number: Number of the trial, from 0.
        params: Its active parameters.
        seed: Its seed.
        resources: What it was given; None means what the sweep says.
        parent: Number of the trial whose work it carries on, or None.
        status: What became of it so far.
        segment: Segment it is in, from 0.
        attempt: Attempt of that segment, from 1.
        until_step: Last step of the segment, or None.
        last: Whether the trial is complete at that step, instead of paused.
        seq: Number of the attempt's last recorded report, from 0; -1 before the first.
        step: Last recorded step, or None.
        metrics: Last recorded numbers by name.
        history: ``(step, metrics)`` of its reports; emptied when it ends, to save memory.
        checkpoint: Last recorded checkpoint, or None.
        superseded: The last few checkpoints before that one, which a killed session may not have deleted.
        failure: Why its last attempt failed, or None.
        failed: Attempts that failed by the trial's own fault.
        free: Attempts that failed by the machinery's fault since its last report.
        stopping: Whether it was told to end.
        interrupted: Whether its attempt was told to end, so that another one goes on later.
        seconds: Time its attempts ran.
    """

    number: int
    # JSON by contract, yet Any here, as in Trial: `trial.params["lr"] * 2` is to pass a type checker
    params: dict[str, Any]
    seed: int
    resources: Resources | None = None
    parent: int | None = None
    status: TrialStatus = "running"
    segment: int = 0
    attempt: int = 1
    until_step: int | None = None
    last: bool = False
    seq: int = -1
    step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    checkpoint: str | None = None
    superseded: tuple[str, ...] = ()
    failure: Failure | None = None
    failed: int = 0
    free: int = 0
    stopping: bool = False
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def key(self) -> AttemptKey:
        """Name of its last attempt."""
        return AttemptKey(self.number, self.segment, self.attempt)

    @property
    def running(self) -> bool:
        """Whether an attempt is under way or due."""
        return self.status == "running"

    @property
    def cost(self) -> float:
        """What it has cost: its metric of that name, else the seconds that its attempts ran."""
        return self.metrics.get("cost", self.seconds)

    def shortcoming(self, objective: Objective | None) -> Failure | None:
        """Why a trial that came to its end has no result after all; None when it has one.

        Args:
            objective: The metric that counts, once it is known.
        """
        if not self.metrics:
            return Failure(kind="no_result", message="the trial gave no metric")
        if objective is None or objective.metric in self.metrics:
            return None
        got = ", ".join(sorted(self.metrics))
        message = f"the trial gave {got}, but not {objective.metric!r}, the metric that counts"
        return Failure(kind="bad_metric", message=message)
