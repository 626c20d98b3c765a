"""Retracing: whether what is recorded of an experiment is the path that its pipeline takes now."""

import asyncio
from contextlib import suppress
from typing import Any

from metta.sweep.contracts.changes import changes_since
from metta.sweep.contracts.defaults import travelled
from metta.sweep.contracts.errors import StageFailed
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.plans import At, Position, StageStep
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.interpreter import Interpreter
from metta.sweep.pipeline.keeping import packer_for
from metta.sweep.pipeline.local import LocalOperations
from metta.sweep.pipeline.pictures import description
from metta.sweep.pipeline.state import Unfit, held
from metta.sweep.stages.experiments import Loaded, loaded_again
from metta.sweep.stages.frontier import NotRecorded, Recorded
from metta.sweep.stages.shelves import StoreShelf
from metta.sweep.stores.base import Store
from metta.sweep.stores.outcomes import Outcomes


class Retraced(Wire):
    """What came of retracing an experiment.

    Args:
        name: Its name.
        steps: So many recorded steps were gone through again.
        problem: Where it would go another way now; empty when it would not.
    """

    name: str
    steps: int
    problem: str = ""


class _Parted(Exception):
    """From here on it goes another way."""


class _Retracing(Recorded):
    """Goes through what is recorded, and asks predicates again."""

    def __init__(self, outcomes: Outcomes, experiment: Loaded, packer: Any, store: Store, name: str) -> None:
        super().__init__(outcomes)
        self._state, self._packer = experiment.state, packer
        seed = outcomes.began.seed if outcomes.began else None
        self._local = LocalOperations(experiment.definition, StoreShelf(store, name), name, seed)
        self.reached: set[At] = set()

    async def run_stage(self, step: StageStep, at: At, value: Value) -> Value:
        """What a stage has given."""
        self.reached.add(at)
        return await super().run_stage(step, at, value)

    async def decide(self, at: At, value: Value) -> bool:
        """What a predicate has said, if it says so again."""
        said = await super().decide(at, value)
        self.reached.add(at)
        fields = self._packer.unkept(value.fields) if value.fields else {}
        try:
            with held(self._state, fields):
                says = await self._local.decide(at, self._packer.unkept(value))
        except StageFailed as error:
            raise _Parted(f"the predicate at {at} fails: {error.failure.message}") from error
        except Unfit as error:
            raise _Parted(f"at {at} what is recorded of the fields does not fit: {error}") from error
        if says != said:
            raise _Parted(f"the predicate at {at} says {says}, and said {said}")
        return said

    async def merge(self, at: At, value: Value, results: Any) -> Value:
        """What branches have merged to."""
        self.reached.add(at)
        return await super().merge(at, value, results)


def retraced(store: Store, name: str, *, pickle: bool) -> Retraced:
    """Go through what is recorded of an experiment with its pipeline as it is now; only predicates are run.

    Args:
        store: Where it is recorded.
        name: Its name.
        pickle: Whether values that were pickled may be read.

    Raises:
        DefinitionError: When its code cannot be loaded.
        StoreError: When the store cannot be read.
    """
    outcomes = Outcomes(store.outcome_log(name))
    outcomes.refresh()
    began = outcomes.began
    assert began is not None  # it is recorded
    experiment = loaded_again(began.spec, store)
    if experiment.definition.plan.fingerprint != began.fingerprint:
        lines = tuple(description(experiment.definition).splitlines())
        now = {"fingerprint": experiment.definition.plan.fingerprint, "structure": lines}
        changes = changes_since(began, began.model_copy(update=now))
        return Retraced(name=name, steps=0, problem="; ".join(changes))
    packer = packer_for(experiment.definition, store.data, pickle=pickle)
    retracing = _Retracing(outcomes, experiment, packer, store, name)
    position = Position[Value](value=began.input)
    problem = ""
    try:
        with travelled(began.defaults), suppress(NotRecorded):  # so far it went
            asyncio.run(Interpreter(retracing).run(experiment.definition.plan, position))
    except _Parted as parted:
        problem = str(parted)
    if not problem and (left := [at for at in outcomes.steps() if at not in retracing.reached]):
        problem = f"{len(left)} recorded steps are not on its path any more, the first of them {left[0]}"
    return Retraced(name=name, steps=len(retracing.reached), problem=problem)
