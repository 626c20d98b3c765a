"""Nested runs of a stage: what has been recorded of them is not run again."""

from time import time

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.nested import NestedEnd, NestedRun, ToldError, child_name
from metta.sweep.contracts.outcomes import NestedEnded
from metta.sweep.stages.recording import recorded
from metta.sweep.stages.waits import Nest
from metta.sweep.stores.outcomes import Outcomes


class RecordedRuns:
    """Lets those runs begin that have not ended before, and records what each gives.

    Args:
        nest: What carries them out.
        name: Name of the experiment.
        outcomes: What is recorded of it.
    """

    def __init__(self, nest: Nest, name: str, outcomes: Outcomes) -> None:
        self._nest, self._name, self._outcomes = nest, name, outcomes

    async def end_of(self, run: NestedRun) -> NestedEnd:
        """How a run ends, or has ended."""
        if (found := self._outcomes.nested(run.at, run.key)) and found.budget == run.budget:
            if found.definition == run.definition:
                return NestedEnd(value=found.value)
            return NestedEnd(error=ToldError.of(_redefined(run)))
        began = time()
        end = await self._nest.end_of(run)
        if end.error is None and end.lasts:
            entry = NestedEnded(
                recorded=time(),
                at=run.at,
                key=run.key,
                name=child_name(self._name, run.at, run.key),
                definition=run.definition,
                budget=run.budget,
                value=end.value,
                seconds=time() - began,
            )
            await recorded(self._outcomes, entry)
        return end

    async def drop(self, run: NestedRun) -> None:
        """Nobody wants to know of a run any more."""
        await self._nest.drop(run)


def _redefined(run: NestedRun) -> DefinitionError:
    problem = (
        f"the stage {run.at} has run another definition under this name before; undo the change, or give the"
        " new one a name of its own"
    )
    return DefinitionError([problem], f"the nested run {run.key}")
