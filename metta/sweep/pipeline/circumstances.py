"""Circumstances: which run of which stage it is, and how its failures are told."""

import copy
from collections.abc import Callable
from typing import Any

from metta.sweep.contracts.errors import StageFailed, SweepError, shown
from metta.sweep.contracts.plans import At, StageFailure, StageFailureKind
from metta.sweep.pipeline.effective import effective
from metta.sweep.pipeline.execution import Overdue, settled
from metta.sweep.pipeline.nodes import Stage


class Circumstances:
    """What all parts of a stage's run know.

    Args:
        stage: What runs.
        at: Where it stands, and in which turns of the loops around it.
        value: What flows in.
        attempts: How often its code has begun before.

    Attributes:
        attempts: How often its code has begun.
    """

    def __init__(self, stage: Stage, at: At, value: Any, attempts: int = 0) -> None:
        self.stage, self.at, self.value = stage, at, value
        self.hooks = effective(stage)
        self.attempts = attempts

    def failure(self, kind: StageFailureKind, error: BaseException, what: str = "") -> StageFailed:
        """The failure of this stage that an error is."""
        told = str(error) if isinstance(error, SweepError | Overdue) else f"{type(error).__name__}: {error}"
        message = f"{what}: {told}" if what else told
        return StageFailed(
            StageFailure(stage=str(self.at), kind=kind, message=message, attempts=self.attempts)
        )

    def copied(self, value: Any) -> Any:
        """A value that user code may change."""
        try:
            return copy.deepcopy(value)
        except Exception as error:  # copying runs the user's code
            raise self.failure("contract", error, f"{shown(value)} cannot be copied") from error

    async def hook(self, name: str, function: Callable[..., Any], value: Any) -> Any:
        """A hook whose failure is the stage's."""
        try:
            return await settled(function(self.copied(value)))
        except StageFailed:
            raise
        except Exception as error:
            raise self.failure("hook", error, name) from error
