"""Schemas: the shape of what each command prints for machines, for the reference and for tests.

No command imports this: each needs its own shape alone. New fields may come; ignore those that
you do not know.
"""

from typing import Any

from metta.sweep.cli.shapes import (
    Dev,
    Ended,
    ExperimentChanged,
    ExperimentListed,
    ExperimentShown,
    ExperimentWithin,
    Given,
    Piece,
    StageShown,
    Started,
    SweepChanged,
    SweepListed,
    SweepShown,
    SweepWithin,
    TrialListed,
    TrialShown,
)
from metta.sweep.client.collecting import Collected
from metta.sweep.client.comparisons import ExperimentComparison, SweepComparison
from metta.sweep.client.health.findings import Finding
from metta.sweep.report.exports import Exported
from metta.sweep.worker.replaying import Replayed
from metta.sweep.worker.shared import Served

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
