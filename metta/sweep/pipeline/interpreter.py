"""The interpreter: walks a plan, and leaves every effect to a port.

It has no user code, clock, randomness or I/O, so that a workflow can run it, and replay it.
"""

import asyncio
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar, assert_never

from metta.sweep.contracts.errors import StageFailed
from metta.sweep.contracts.plans import (
    At,
    ConditionalStep,
    LoopStep,
    ParallelStep,
    PipelineStep,
    Plan,
    Position,
    StageFailure,
    StageStep,
    Step,
)

V = TypeVar("V")

Turns = tuple[int, ...]


class Operations(Protocol[V]):
    """What a pipeline does to the world. Values are the port's own: objects, or references to them.

    All raise ``StageFailed`` when the code they run has failed for good.
    """

    async def run_stage(self, step: StageStep, at: At, value: V) -> V:
        """Run a stage with its hooks, and record how it ended."""
        ...

    async def recover(self, at: At, value: V, failure: StageFailure) -> V:
        """Ask the stage's ``on_error`` for a value in place of the one it failed to give."""
        ...

    async def decide(self, at: At, value: V) -> bool:
        """Ask the predicate of a conditional or loop."""
        ...

    async def merge(self, at: At, value: V, results: Sequence[V]) -> V:
        """Merge the results of parallel branches into what flowed into them."""
        ...


class Interpreter(Generic[V]):
    """Runs plans on a port."""

    def __init__(self, operations: Operations[V]) -> None:
        self._operations = operations

    async def run(self, plan: Plan, position: Position[V], turns: Turns = ()) -> V:
        """Go on from a position to the end.

        Args:
            plan: What to run.
            position: Where to begin; it is moved along, so that it always says how to go on.
            turns: Turns of the loops around the plan.

        Returns:
            What flows out.

        Raises:
            StageFailed: When a stage failed, and nothing recovered it.
        """
        while position.step < len(plan.steps):
            position.move(await self._step(plan.steps[position.step], position, turns))
        return position.value

    async def _step(self, step: Step, position: Position[V], turns: Turns) -> V:
        match step:
            case StageStep():
                return await self._stage(step, position.value, At(step.path, turns))
            case PipelineStep():
                return await self._inside(step.body, position, turns)
            case ParallelStep():
                return await self._parallel(step, position, turns)
            case ConditionalStep():
                return await self._conditional(step, position, turns)
            case LoopStep():
                return await self._loop(step, position, turns)
        assert_never(step)

    async def _stage(self, step: StageStep, value: V, at: At) -> V:
        try:
            return await self._operations.run_stage(step, at, value)
        except StageFailed as error:
            if not step.recovers:
                raise
            return await self._operations.recover(at, value, error.failure)

    async def _inside(self, plan: Plan, position: Position[V], turns: Turns) -> V:
        position.inside = position.inside or [Position(value=position.value)]
        return await self.run(plan, position.inside[0], turns)

    async def _parallel(self, step: ParallelStep, position: Position[V], turns: Turns) -> V:
        position.inside = position.inside or [Position(value=position.value) for _ in step.branches]
        runs = (self.run(plan, at, turns) for plan, at in zip(step.branches, position.inside, strict=True))
        # all come to their ends before one failure is told, for what was recorded is not done again
        results = await asyncio.gather(*runs, return_exceptions=True)
        if failures := [result for result in results if isinstance(result, BaseException)]:
            for other in failures[1:]:
                failures[0].add_note(f"and beside it: {other}")
            raise failures[0]
        return await self._operations.merge(
            At(step.path, turns), position.value, [at.value for at in position.inside]
        )

    async def _conditional(self, step: ConditionalStep, position: Position[V], turns: Turns) -> V:
        if position.chosen is None:
            position.chosen = await self._operations.decide(At(step.path, turns), position.value)
        return await self._inside(step.then if position.chosen else step.otherwise, position, turns)

    async def _loop(self, step: LoopStep, position: Position[V], turns: Turns) -> V:
        while True:
            inner = (*turns, position.turns)
            if position.chosen is None:
                position.chosen = await self._operations.decide(At(step.path, inner), position.value)
            if not position.chosen:
                return position.value
            if position.turns == step.max_iterations:
                raise _endless(step, At(step.path, turns))
            position.turn(await self._inside(step.body, position, inner))


def _endless(step: LoopStep, at: At) -> StageFailed:
    message = f"its predicate still holds after max_iterations={step.max_iterations} turns"
    return StageFailed(StageFailure(stage=str(at), kind="loop", message=message))
