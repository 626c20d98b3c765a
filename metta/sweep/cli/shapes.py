"""Shapes: what commands print for machines with ``--json``.

New fields may come; ignore those that you do not know.
"""

from typing import Any

from pydantic import JsonValue

from metta.sweep.client.collecting import Collected
from metta.sweep.client.comparisons import ExperimentComparison, SweepComparison
from metta.sweep.client.health.findings import Finding
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.experiments import ExperimentControl, ExperimentStatus
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.plans import StageFailure
from metta.sweep.contracts.sweeps import SweepStatus, TrialStatus
from metta.sweep.contracts.trials import Resources
from metta.sweep.contracts.values import Value
from metta.sweep.report.exports import Exported
from metta.sweep.worker.replaying import Replayed
from metta.sweep.worker.shared import Served


class SweepShown(SweepStatus):
    """A sweep, and its page in the Temporal UI, which is empty where that is not known."""

    sweep: str
    ui: str


class ExperimentShown(ExperimentStatus):
    """An experiment, and its page in the Temporal UI."""

    experiment: str
    ui: str


class SweepListed(SweepStatus):
    """A sweep among others."""

    sweep: str


class ExperimentListed(ExperimentStatus):
    """An experiment among others."""

    experiment: str


class SweepWithin(SweepListed):
    """A sweep, and what runs within it."""

    within: tuple["SweepWithin | ExperimentWithin", ...]


class ExperimentWithin(ExperimentListed):
    """An experiment, and what runs within it."""

    within: tuple["SweepWithin | ExperimentWithin", ...]


class SweepChanged(Control):
    """What is now wanted of a sweep."""

    sweep: str


class ExperimentChanged(ExperimentControl):
    """What is now wanted of an experiment."""

    experiment: str


class Given(Wire):
    """What an experiment gave; without its name when it ran in this process."""

    experiment: str = ""
    ui: str = ""
    value: Value | None


class TrialListed(Wire):
    """A trial; see ``TrialRecord``."""

    number: int
    status: TrialStatus
    params: dict[str, JsonValue]
    metrics: dict[str, float]
    step: int | None
    seed: int
    parent: int | None
    segment: int
    attempt: int
    seconds: float
    checkpoint: str | None
    resources: Resources | None
    failure: Failure | None
    failed: int
    free: int


class ReportShown(Wire):
    """A report of a trial, and when it was recorded, in seconds since 1970."""

    step: int
    at: float
    metrics: dict[str, float]


class TrialShown(TrialListed):
    """A trial with its reports."""

    reports: tuple[ReportShown, ...]


class Started(Wire):
    """What was started, whether it is a sweep or an experiment, and what should be known of it."""

    name: str
    kind: str
    ui: str
    notes: tuple[str, ...]


class Piece(Wire):
    """A piece of what was printed, and by what."""

    source: str
    text: str


class StageShown(Wire):
    """A stage that was run again: what it gave, as text, and the fields of its experiment afterwards."""

    stage: str
    value: str
    fields: dict[str, Any]
    failure: StageFailure | None


class Dev(Wire):
    """A server for development."""

    ui: str
    address: str
    namespace: str
    queue: str


class Ended(Wire):
    """What was stopped: workers by name, and whether a server."""

    workers: tuple[str, ...]
    server: bool


Shown = SweepShown | ExperimentShown
Changed = SweepChanged | ExperimentChanged
Listed = SweepListed | ExperimentListed

SHAPES: dict[str, Any] = {
    "run": Shown | Given,
    "start": Started,
    "attach": Shown | Given,
    "retry": Shown | Given,
    "ls": tuple[Listed, ...],
    "show": Shown | SweepWithin | ExperimentWithin,
    "watch": Listed,
    "trials": tuple[TrialListed, ...] | TrialShown,
    "logs": Piece,
    "replay": Replayed | StageShown,
    "diff": SweepComparison | ExperimentComparison,
    "budget": Changed,
    "concurrency": SweepChanged,
    "pause": Changed,
    "resume": Changed,
    "stop": Changed,
    "dev": Dev | Ended,
    "doctor": tuple[Finding, ...],
    "export": Exported,
    "worker": Served,
    "gc": Collected,
}
"""By command; ``watch`` and ``logs`` print one a line."""
