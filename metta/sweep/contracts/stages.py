"""Stages: how one fails for good."""

from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.plans import StageFailure


class StageFailed(SweepError):
    """A stage of a pipeline failed for good.

    Args:
        failure: Which stage, and why.
    """

    def __init__(self, failure: StageFailure) -> None:
        self.failure = failure

    def __str__(self) -> str:
        tries = f" after {self.failure.attempts} attempts" if self.failure.attempts > 1 else ""
        return f"stage {self.failure.stage} failed{tries}: {self.failure.message}"
