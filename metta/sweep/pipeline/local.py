"""Local runs: a pipeline in this process, with no engine, for tests and debugging."""

import asyncio
import contextvars
import copy
import threading
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import JsonValue

from metta.sweep.contracts.errors import StageFailed, shown
from metta.sweep.contracts.nesting import NOWHERE, is_in_loop, nested_in
from metta.sweep.contracts.plans import At, Outcome, Position, StageFailure, StageFailureKind, StageStep
from metta.sweep.contracts.shelves import Shelf
from metta.sweep.contracts.stages import running_stage
from metta.sweep.pipeline.binding import asked
from metta.sweep.pipeline.conversion import Mismatch
from metta.sweep.pipeline.execution import settled
from metta.sweep.pipeline.interpreter import Interpreter
from metta.sweep.pipeline.keeping import ShelfBlobs
from metta.sweep.pipeline.merging import merge
from metta.sweep.pipeline.nesting import LocalNesting
from metta.sweep.pipeline.nodes import Conditional, Loop, Parallel, Stage
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.planning import Definition
from metta.sweep.pipeline.runner import StageRun
from metta.sweep.pipeline.state import Conflict, Fields, State, held, joined


class LocalOperations:
    """The interpreter's port in this process: values are the objects themselves.

    Args:
        definition: What to run.
        shelf: Where persistence hooks keep their bytes.
        name: Name of the experiment.
        seed: Seed of the stages' seeds; None derives them from the name.
        state: Fields of the experiment, as they flow.

    Attributes:
        outcomes: How each stage ended, in the order of their ends.
    """

    def __init__(
        self,
        definition: Definition,
        shelf: Shelf,
        name: str = "",
        seed: int | None = None,
        state: State | None = None,
    ) -> None:
        self._nodes, self._shelf, self._state = definition.nodes, shelf, state
        self._name, self._seed = name, seed
        self._packer = Packer(ShelfBlobs(shelf), pickle=False, classes=definition.classes)
        self._failed: dict[At, tuple[StageRun, StageFailed]] = {}
        self.outcomes: dict[str, Outcome] = {}

    async def run_stage(self, step: StageStep, at: At, value: Any) -> Any:
        """Run a stage with its hooks."""
        stage = self._nodes[at.path]
        assert isinstance(stage, Stage)
        run = StageRun(
            stage,
            at,
            value,
            self._shelf,
            self._packer,
            debugging=True,
            state=self._state,
            within=partial(nested_in, LocalNesting()),
        )
        try:
            with running_stage(self._name, at, self._seed), nested_in(NOWHERE):
                output = await run.value()
        except StageFailed as error:
            self._failed[at] = run, error
            raise
        self.outcomes[str(at)] = run.outcome
        return output

    async def recover(self, at: At, value: Any, failure: StageFailure) -> Any:
        """Ask the stage's ``on_error``, with the exception itself."""
        run, error = self._failed.pop(at)
        with running_stage(self._name, at, self._seed), nested_in(NOWHERE):
            output = await run.recovered(error)
        self.outcomes[str(at)] = run.outcome
        return output

    async def decide(self, at: At, value: Any) -> bool:
        """Ask a predicate."""
        node = self._nodes[at.path]
        assert isinstance(node, Conditional | Loop)
        try:
            call = asked(node.predicate, copy.deepcopy(value), at.turns)
            with running_stage(self._name, at, self._seed), nested_in(NOWHERE):
                answer = await settled(node.predicate(*call.args, **call.named))
        except Exception as error:
            raise _failed(at, "hook", f"its predicate: {type(error).__name__}: {error}") from error
        is_scalar = type(answer).__module__ == "numpy" and getattr(answer, "size", 0) == 1
        if not isinstance(answer, bool) and not is_scalar:
            raise _failed(at, "hook", f"its predicate has to return True or False, got {shown(answer)}")
        return bool(answer)

    async def merge(self, at: At, value: Any, results: Sequence[Any]) -> Any:
        """Merge the results of parallel branches."""
        node = self._nodes[at.path]
        assert isinstance(node, Parallel)
        try:
            with nested_in(NOWHERE):
                return merge(value, dict(zip(node.branches, results, strict=True)), by_name=node.by_name)
        except Mismatch as error:
            raise _failed(at, "contract", str(error)) from error
        except Exception as error:  # rules of merging are the user's
            raise _failed(at, "hook", f"merging: {type(error).__name__}: {error}") from error

    def joined(self, at: At, before: Fields, results: Sequence[Fields]) -> Fields:
        """What flows on of fields behind parallel branches.

        Raises:
            StageFailed: When two of them have changed the same one.
        """
        node = self._nodes[at.path]
        assert isinstance(node, Parallel)
        try:
            return joined(before, dict(zip(node.branches, results, strict=True)))
        except Conflict as error:
            raise _failed(at, "contract", str(error)) from error


class Held(NamedTuple):
    """What flows in a local run of an experiment.

    Args:
        value: What flows.
        fields: Its fields that are not as they were given.
    """

    value: Any
    fields: Fields


class StatefulOperations:
    """The interpreter's port for experiments: fields flow beside the values.

    Args:
        operations: What carries out each step.
        state: The fields.
    """

    def __init__(self, operations: LocalOperations, state: State) -> None:
        self._operations, self._state = operations, state
        self._alone = asyncio.Lock()  # branches beside each other share the experiment

    async def run_stage(self, step: StageStep, at: At, value: Held) -> Held:
        """Run a stage with its hooks; its fields are as they flow."""
        async with self._alone:
            with held(self._state, value.fields), self._state.opened():
                output = await self._operations.run_stage(step, at, value.value)
                return Held(output, self._state.changed())

    async def recover(self, at: At, value: Held, failure: StageFailure) -> Held:
        """Ask the stage's ``on_error``."""
        async with self._alone:
            with held(self._state, value.fields), self._state.opened():
                output = await self._operations.recover(at, value.value, failure)
                return Held(output, self._state.changed())

    async def decide(self, at: At, value: Held) -> bool:
        """Ask a predicate."""
        async with self._alone:
            with held(self._state, value.fields):
                return await self._operations.decide(at, value.value)

    async def merge(self, at: At, value: Held, results: Sequence[Held]) -> Held:
        """Merge the results of parallel branches, and what they have made of the fields."""
        async with self._alone:
            with held(self._state, value.fields):
                output = await self._operations.merge(at, value.value, [result.value for result in results])
        return Held(output, self._operations.joined(at, value.fields, [result.fields for result in results]))


def _failed(at: At, kind: StageFailureKind, message: str) -> StageFailed:
    return StageFailed(StageFailure(stage=str(at), kind=kind, message=message))


class LocalRun(NamedTuple):
    """What a local run gave, how each stage ended, and fields that are not as they were given."""

    value: Any
    outcomes: dict[str, Outcome]
    fields: Mapping[str, JsonValue] = MappingProxyType({})


def run_local(definition: Definition, value: Any, shelf: Shelf, state: State | None = None) -> LocalRun:
    """Run a pipeline in this process, also where an event loop is running already.

    Args:
        definition: The pipeline.
        value: What flows into the first stage.
        shelf: Where persistence hooks keep their bytes.
        state: Fields of the experiment that it belongs to.

    Raises:
        StageFailed: When a stage failed for good.
    """
    operations, value = LocalOperations(definition, shelf, state=state), copy.deepcopy(value)
    if state is None:
        result = _completed(Interpreter(operations).run(definition.plan, Position[Any](value=value)))
        return LocalRun(result, operations.outcomes)
    begin = Position[Any](value=Held(value, {}))
    last: Held = _completed(Interpreter(StatefulOperations(operations, state)).run(definition.plan, begin))
    return LocalRun(last.value, operations.outcomes, last.fields)


def _completed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    if not is_in_loop():
        return asyncio.run(coroutine)
    outcome: list[Any] = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: outcome.append(context.run(_caught, coroutine)))
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def _caught(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    try:
        return asyncio.run(coroutine), None
    except BaseException as error:
        return None, error
