"""Shapes: what commands print for machines with ``--json``, where nothing else says it already."""

from typing import Any

from pydantic import JsonValue

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.experiments import ExperimentControl, ExperimentStatus
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.plans import StageFailure
from metta.sweep.contracts.sweeps import SweepStatus, TrialStatus
from metta.sweep.contracts.trials import Resources
from metta.sweep.contracts.values import Value


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
