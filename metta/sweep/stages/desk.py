"""The desk: carries out tasks with the user's code, in a stage process."""

from functools import lru_cache, partial
from typing import Any

from metta.sweep.contracts.components import load
from metta.sweep.contracts.errors import DefinitionError, StageFailed, SweepError
from metta.sweep.contracts.experiments import ExperimentSpec, Order, StageOrder
from metta.sweep.contracts.fingerprints import fingerprint_of
from metta.sweep.contracts.plans import At, width_of
from metta.sweep.contracts.stages import running_stage
from metta.sweep.contracts.values import inline_bytes
from metta.sweep.pipeline.keeping import restoring
from metta.sweep.pipeline.local import LocalOperations
from metta.sweep.pipeline.nodes import Stage
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.pictures import description
from metta.sweep.pipeline.planning import Definition
from metta.sweep.pipeline.runner import StageRun
from metta.sweep.stages.errors import kept_error, raised_again
from metta.sweep.stages.experiments import definition_of
from metta.sweep.stages.messages import (
    ChildTask,
    DecideTask,
    LoadTask,
    MergeTask,
    PlanTask,
    RecoverTask,
    Reply,
    Setting,
    StageTask,
    Task,
)
from metta.sweep.stages.shelves import StoreShelf
from metta.sweep.stores.data import DataStore
from metta.sweep.stores.files import FileStore

RESULTS = "metta.sweep.client.results:Results"
"""What a sweep gives; by its name, for only processes that need it are to import the client."""


class Desk:
    """Carries out tasks.

    Args:
        setting: What the process was told.
    """

    def __init__(self, setting: Setting) -> None:
        self._store = FileStore(setting.store)
        self._pickle = setting.pickle
        self._definition = lru_cache(maxsize=16)(self._loaded)

    async def carried_out(self, task: Task) -> Reply:
        """Carry out a task.

        Raises:
            DefinitionError: When the experiment cannot be run as it is defined.
            StageFailed: When the user's code failed.
        """
        match task:
            case PlanTask():
                return self._planned(task)
            case LoadTask():
                self._definition(task.spec.model_dump_json())
                return Reply()
            case StageTask():
                return await self._stage(task.order, task.failed)
            case ChildTask():
                return await self._child(task.order)
            case RecoverTask():
                return await self._recovered(task)
            case DecideTask():
                answer = await self._operations(task.order).decide(task.order.at, self._given(task.order))
                return Reply(answer=answer)
            case MergeTask():
                return await self._merged(task)

    def _planned(self, task: PlanTask) -> Reply:
        definition = self._definition(task.spec.model_dump_json())
        packer = self._packer(definition)
        value = packer.unkept(task.given) if task.given else definition.input_from(task.input)
        return Reply(
            plan=definition.plan,
            value=packer.kept(value, inline_bytes(width_of(definition.plan))),
            structure=tuple(description(definition).splitlines()),
        )

    async def _stage(self, order: StageOrder, failed: int) -> Reply:
        run = self._stage_run(order, failed, self._work(order))
        with running_stage(order.name, order.at):
            try:
                output = await run.value()
            except StageFailed as error:
                kept = kept_error(error.__cause__, self._packer(self._checked(order)), order.inline_bytes)
                failure = error.failure.model_copy(update={"error": kept})
                raise StageFailed(failure) from error.__cause__
        return await self._ended(order, run, output)

    async def _child(self, order: Order) -> Reply:
        run = self._stage_run(order)
        experiment = self._node(order).experiment
        assert experiment is not None
        with running_stage(order.name, order.at):
            if skipped := await run.skipped():
                return await self._ended(order, run, skipped[0])
        return Reply(child=experiment.child_input(), summary=experiment.child_summary())

    async def _recovered(self, task: RecoverTask) -> Reply:
        order, run = task.order, self._stage_run(task.order, task.order.failure.attempts)
        with running_stage(order.name, order.at):
            output = await run.recovered(raised_again(order.failure, self._packer(self._checked(order))))
        return await self._ended(order, run, output)

    async def _merged(self, task: MergeTask) -> Reply:
        order, packer = task.order, self._packer(self._checked(task.order))
        results = [packer.unkept(value) for value in order.results]
        merged = await self._operations(order).merge(order.at, self._given(order), results)
        return Reply(value=packer.kept(merged, order.inline_bytes))

    async def _ended(self, order: Order, run: StageRun, output: Any) -> Reply:
        node = self._node(order)
        return Reply(
            value=await run.sent(output, order.inline_bytes),
            outcome=run.outcome,
            decided=await self._decided(order, output),
            code=_code_of(node.run) if node.run else "",
        )

    async def _decided(self, order: Order, output: Any) -> tuple[At, bool] | None:
        """What the predicate behind a stage says; asking it along saves a whole activity."""
        following = self._checked(order).predicates.get(order.at.path)
        if following is None:
            return None
        at = following.behind(order.at)
        try:
            return at, await self._operations(order).decide(at, output)
        except SweepError:  # it is asked again by itself, and its failure is its own then
            return None

    def _work(self, order: StageOrder) -> Any:
        """What another workflow has done in place of the stage's code."""
        experiment = self._node(order).experiment
        if experiment is None or order.child is None:
            return None
        if experiment.child_workflow == "Sweep":
            return partial(load(RESULTS).__unpack__, order.child, self._store.root)
        return partial(self._result_of, order.child, self._packer(self._checked(order)))

    def _result_of(self, name: str, packer: Packer) -> Any:
        outcomes = [e for e in self._store.outcome_log(name).entries() if e.type == "finished"]
        return packer.unkept(outcomes[-1].value)

    # --- code ---

    def _stage_run(self, order: Order, failed: int = 0, work: Any = None) -> StageRun:
        shelf = StoreShelf(self._store.root, self._store.experiment_folder(order.name))
        node, value = self._node(order), self._given(order)
        packer = self._packer(self._checked(order))
        return StageRun(node, order.at, value, shelf, packer, debugging=False, failed=failed, work=work)

    def _operations(self, order: Order) -> LocalOperations:
        shelf = StoreShelf(self._store.root, self._store.experiment_folder(order.name))
        return LocalOperations(self._checked(order), shelf, order.name)

    def _given(self, order: Order) -> Any:
        return self._packer(self._checked(order)).unkept(order.value)

    def _node(self, order: Order) -> Stage:
        node = self._checked(order).nodes[order.at.path]
        assert isinstance(node, Stage)
        return node

    def _packer(self, definition: Definition) -> Packer:
        return Packer(
            DataStore(self._store.root),
            pickle=self._pickle,
            classes=definition.classes,
            restore=restoring(definition.flows),
        )

    def _checked(self, order: Order) -> Definition:
        """The experiment's definition, when it is still the one that is carried out."""
        definition = self._definition(order.spec.model_dump_json())
        if (fingerprint := definition.plan.fingerprint) != order.fingerprint:
            problem = (
                f"its pipeline was changed while it ran (it was {order.fingerprint}, and is {fingerprint}):"
                " undo the change, or run the new one under another name"
            )
            raise DefinitionError([problem], f"the experiment {order.name}")
        return definition

    def _loaded(self, spec: str) -> Definition:
        return definition_of(ExperimentSpec.model_validate_json(spec), self._store)


@lru_cache(maxsize=256)
def _code_of(run: Any) -> str:
    """What changes with a stage's code; finding that out takes a millisecond."""
    return fingerprint_of(run)
