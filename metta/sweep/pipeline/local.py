"""Local runs: a pipeline in this process, with no engine, for tests and debugging."""

import asyncio
import contextvars
import copy
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

from metta.sweep.contracts.errors import StageFailed, shown
from metta.sweep.contracts.plans import At, Outcome, Position, StageFailure, StageFailureKind, StageStep
from metta.sweep.contracts.shelves import Shelf
from metta.sweep.contracts.stages import running_stage
from metta.sweep.pipeline.binding import asked
from metta.sweep.pipeline.conversion import Mismatch
from metta.sweep.pipeline.execution import settled
from metta.sweep.pipeline.interpreter import Interpreter
from metta.sweep.pipeline.keeping import ShelfBlobs
from metta.sweep.pipeline.merging import merge
from metta.sweep.pipeline.nodes import Conditional, Loop, Parallel, Stage
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.planning import Definition
from metta.sweep.pipeline.runner import StageRun


class LocalOperations:
    """The interpreter's port in this process: values are the objects themselves.

    Args:
        definition: What to run.
        shelf: Where persistence hooks keep their bytes.
        name: Name of the experiment.
        seed: Seed of the stages' seeds; None derives them from the name.

    Attributes:
        outcomes: How each stage ended, in the order of their ends.
    """

    def __init__(self, definition: Definition, shelf: Shelf, name: str = "", seed: int | None = None) -> None:
        self._nodes, self._shelf, self._name, self._seed = definition.nodes, shelf, name, seed
        self._packer = Packer(ShelfBlobs(shelf), pickle=False, classes=definition.classes)
        self._failed: dict[At, tuple[StageRun, StageFailed]] = {}
        self.outcomes: dict[str, Outcome] = {}

    async def run_stage(self, step: StageStep, at: At, value: Any) -> Any:
        """Run a stage with its hooks."""
        stage = self._nodes[at.path]
        assert isinstance(stage, Stage)
        run = StageRun(stage, at, value, self._shelf, self._packer, debugging=True)
        try:
            with running_stage(self._name, at, self._seed):
                output = await run.value()
        except StageFailed as error:
            self._failed[at] = run, error
            raise
        self.outcomes[str(at)] = run.outcome
        return output

    async def recover(self, at: At, value: Any, failure: StageFailure) -> Any:
        """Ask the stage's ``on_error``, with the exception itself."""
        run, error = self._failed.pop(at)
        with running_stage(self._name, at, self._seed):
            output = await run.recovered(error)
        self.outcomes[str(at)] = run.outcome
        return output

    async def decide(self, at: At, value: Any) -> bool:
        """Ask a predicate."""
        node = self._nodes[at.path]
        assert isinstance(node, Conditional | Loop)
        try:
            call = asked(node.predicate, copy.deepcopy(value), at.turns)
            with running_stage(self._name, at, self._seed):
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
            return merge(value, dict(zip(node.branches, results, strict=True)), by_name=node.by_name)
        except Mismatch as error:
            raise _failed(at, "contract", str(error)) from error
        except Exception as error:  # rules of merging are the user's
            raise _failed(at, "hook", f"merging: {type(error).__name__}: {error}") from error


def _failed(at: At, kind: StageFailureKind, message: str) -> StageFailed:
    return StageFailed(StageFailure(stage=str(at), kind=kind, message=message))


class LocalRun(NamedTuple):
    """What a local run gave, and how each stage ended."""

    value: Any
    outcomes: dict[str, Outcome]


def run_local(definition: Definition, value: Any, shelf: Shelf) -> LocalRun:
    """Run a pipeline in this process, also where an event loop is running already.

    Raises:
        StageFailed: When a stage failed for good.
    """
    operations = LocalOperations(definition, shelf)
    position = Position[Any](value=copy.deepcopy(value))
    result = _completed(Interpreter(operations).run(definition.plan, position))
    return LocalRun(result, operations.outcomes)


def _completed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    if not _is_in_loop():
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


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _caught(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    try:
        return asyncio.run(coroutine), None
    except BaseException as error:
        return None, error
