"""The frontier: how far an experiment is, from what is recorded of it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Never

from metta.sweep.contracts.outcomes import Decided, Merged, StageEnded
from metta.sweep.contracts.plans import At, Plan, Position, StageFailure, StageStep
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.interpreter import Interpreter
from metta.sweep.stores.outcomes import Outcomes


class NotRecorded(Exception):
    """From here on it has to be done."""


class Recorded:
    """The interpreter's port that only finds what is recorded."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    async def run_stage(self, step: StageStep, at: At, value: Value) -> Value:
        """What a stage has given."""
        found = self._outcomes.of(at)
        return found.value if isinstance(found, StageEnded) else self._missing(at)

    async def recover(self, at: At, value: Value, failure: StageFailure) -> Value:
        """Never asked: what an ``on_error`` gave is recorded as what its stage gave."""
        return self._missing(at)

    async def decide(self, at: At, value: Value) -> bool:
        """What a predicate has said."""
        found = self._outcomes.of(at)
        return found.answer if isinstance(found, Decided) else self._missing(at)

    async def merge(self, at: At, value: Value, results: Sequence[Value]) -> Value:
        """What branches have merged to."""
        found = self._outcomes.of(at)
        return found.value if isinstance(found, Merged) else self._missing(at)

    def _missing(self, at: At) -> Never:
        raise NotRecorded(str(at))


def frontier(plan: Plan, input: Value, outcomes: Outcomes) -> Position[Value]:
    """Where a run of a plan has come to; takes a second for a hundred thousand outcomes.

    Args:
        plan: What is run.
        input: What flows into its first step.
        outcomes: What is recorded of it.
    """
    position = Position[Value](value=input)
    with suppress(NotRecorded):
        asyncio.run(Interpreter(Recorded(outcomes)).run(plan, position))
    return position
