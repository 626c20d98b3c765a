"""The desk: carries out tasks with the user's code, in a stage process."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import lru_cache, partial
from typing import Any

from metta.sweep.contracts.components import load
from metta.sweep.contracts.defaults import travelled
from metta.sweep.contracts.errors import DefinitionError, StageFailed, SweepError
from metta.sweep.contracts.experiments import ExperimentSpec, MergeOrder, Order, RecoverOrder, StageOrder
from metta.sweep.contracts.fingerprints import fingerprint_of
from metta.sweep.contracts.nesting import NOWHERE, Nesting, nested_in
from metta.sweep.contracts.outcomes import Finished
from metta.sweep.contracts.plans import At, StageFailure, width_of
from metta.sweep.contracts.stages import running_stage
from metta.sweep.contracts.values import Value, inline_bytes
from metta.sweep.pipeline.errors import kept_error, raised_again
from metta.sweep.pipeline.keeping import packer_for
from metta.sweep.pipeline.local import LocalOperations
from metta.sweep.pipeline.nodes import Stage
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.pictures import description
from metta.sweep.pipeline.planning import Definition
from metta.sweep.pipeline.runner import StageRun
from metta.sweep.pipeline.state import Fields, Unfit, held, opened
from metta.sweep.stages.channel import Channel
from metta.sweep.stages.experiments import Loaded, loaded
from metta.sweep.stages.messages import (
    Begun,
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
from metta.sweep.stages.nesting import RESULTS, Asking, StageNesting
from metta.sweep.stages.shelves import StoreShelf
from metta.sweep.stores.base import Store
from metta.sweep.stores.urls import store_of


class Case:
    """What all that is done for one order shares.

    Args:
        order: What is to be done.
        experiment: What it is about.
        packer: Its packer.
        store: Where it is recorded.
    """

    def __init__(self, order: Order, experiment: Loaded, packer: Packer, store: Store) -> None:
        self.order, self.packer = order, packer
        self.definition, self._state = experiment
        self.value = packer.unkept(order.value)
        self._fields: Fields = self.fields_of(order.value)
        self._shelf = StoreShelf(store, order.name)

    @property
    def node(self) -> Stage:
        """The stage that is meant."""
        node = self.definition.nodes[self.order.at.path]
        assert isinstance(node, Stage)
        return node

    @property
    def operations(self) -> LocalOperations:
        """What asks predicates and merges branches."""
        return LocalOperations(self.definition, self._shelf, self.order.name, self.order.seed)

    def run(
        self, failed: int = 0, work: Any = None, place: Nesting = NOWHERE, *, afresh: bool = False
    ) -> StageRun:
        """A run of the stage; see ``StageRun``."""
        return StageRun(
            self.node,
            self.order.at,
            self.value,
            self._shelf,
            self.packer,
            debugging=False,
            failed=failed,
            work=work,
            state=self._state,
            within=partial(nested_in, place, everywhere=True),
            afresh=afresh,
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it the experiment's fields are as they flow.

        Raises:
            StageFailed: When what was recorded of them fits them no more.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self._state, self._fields))
            except Unfit as error:
                message = f"its fields: what is recorded of them does not fit any more: {error}"
                failure = StageFailure(stage=str(self.order.at), kind="contract", message=message)
                raise StageFailed(failure) from error
            yield

    def opened(self) -> AbstractContextManager[None]:
        """Within it fields can be assigned to."""
        return opened(self._state)

    def fields_of(self, value: Value) -> Fields:
        """What flows of the fields beside a value."""
        fields: Fields = self.packer.unkept(value.fields) if value.fields else {}
        return fields

    def with_fields(self, value: Value, fields: Fields | None = None) -> Value:
        """A value with the fields as they flow on.

        Args:
            value: The value.
            fields: The fields; None takes what a stage has made of them just now.
        """
        if fields is None:
            fields = self._state.changed() if self._state else {}
        if fields == self._fields:
            return value.model_copy(update={"fields": self.order.value.fields})
        return value.model_copy(update={"fields": self.kept(fields) if fields else None})

    def kept(self, value: Any) -> Value:
        """A value as it travels."""
        return self.packer.kept(value, self.order.inline_bytes)


class Desk:
    """Carries out tasks.

    Args:
        setting: What the process was told.
        channel: Whom to ask for nested runs.
    """

    def __init__(self, setting: Setting, channel: Channel) -> None:
        self._channel = channel
        self._store = store_of(setting.store, setting.home)
        self._pickle = setting.pickle
        self._experiment = lru_cache(maxsize=16)(self._loaded)
        self._code = lru_cache(maxsize=256)(self._code_at)

    async def carried_out(self, task: Task) -> Reply:
        """Carry out a task.

        Raises:
            DefinitionError: When the experiment cannot be run as it is defined.
            StageFailed: When the user's code failed.
        """
        with nested_in(NOWHERE, everywhere=True), travelled(task.spec.defaults, everywhere=True):
            return await self._replied(task)

    async def _replied(self, task: Task) -> Reply:
        match task:
            case PlanTask():
                return self._planned(task)
            case LoadTask():
                self._experiment_of(task.spec)
                return Reply()
            case StageTask():
                return await self._stage(task.order, task.failed, task.anew)
            case ChildTask():
                return await self._child(task.order)
            case RecoverTask():
                return await self._recovered(task.order)
            case DecideTask():
                case = self._case(task.order)
                with case.held():
                    return Reply(answer=await case.operations.decide(task.order.at, case.value))
            case MergeTask():
                return await self._merged(task.order)

    def _planned(self, task: PlanTask) -> Reply:
        definition = self._experiment_of(task.spec).definition
        packer = self._packer(definition)
        value = packer.unkept(task.given) if task.given else definition.input_from(task.input)
        return Reply(
            plan=definition.plan,
            value=packer.kept(value, inline_bytes(width_of(definition.plan))),
            structure=tuple(description(definition).splitlines()),
        )

    async def _stage(self, order: StageOrder, failed: int, anew: int) -> Reply:
        case = self._begun(order)
        asking = Asking(order.name, order.at, order.seed, order.spec.lineage, anew)
        place = StageNesting(self._channel.ask, asking, self._store, pickle=self._pickle)
        with case.held(), running_stage(order.name, order.at, order.seed):
            # one that somebody wants to run again is not to give what it gave then
            run = case.run(failed, self._work(order, case), place, afresh=anew > 0)
            try:
                with case.opened(), closing(place):
                    output = await run.value()
            except StageFailed as error:
                kept = kept_error(error.__cause__, case.kept)
                raise StageFailed(error.failure.model_copy(update={"error": kept})) from error.__cause__
            return await self._ended(case, run, output)

    async def _child(self, order: Order) -> Reply:
        case = self._begun(order)
        experiment = case.node.experiment
        assert experiment is not None
        with case.held(), running_stage(order.name, order.at, order.seed):
            run = case.run()
            with case.opened():
                skipped = await run.skipped()
            if skipped:
                return await self._ended(case, run, skipped[0])
        return Reply(child=experiment.child_input(order.value.alone), summary=experiment.child_summary())

    async def _recovered(self, order: RecoverOrder) -> Reply:
        case = self._begun(order)
        with case.held(), running_stage(order.name, order.at, order.seed):
            run = case.run(order.failure.attempts)
            with case.opened():
                output = await run.recovered(raised_again(order.failure, case.packer))
            return await self._ended(case, run, output)

    async def _merged(self, order: MergeOrder) -> Reply:
        case = self._case(order)
        results = [case.packer.unkept(value) for value in order.results]
        with case.held():
            merged = case.kept(await case.operations.merge(order.at, case.value, results))
        fields = [case.fields_of(value) for value in order.results]
        joined = case.operations.joined(order.at, case.fields_of(order.value), fields)
        return Reply(value=case.with_fields(merged, joined))

    async def _ended(self, case: Case, run: StageRun, output: Any) -> Reply:
        order = case.order
        return Reply(
            value=case.with_fields(await run.sent(output, order.inline_bytes)),
            outcome=run.outcome,
            decided=await _decided(case, output),
        )

    def _work(self, order: StageOrder, case: Case) -> Any:
        """What another workflow has done in place of the stage's code."""
        experiment = case.node.experiment
        if experiment is None or order.child is None:
            return None
        if experiment.child_workflow == "Sweep":
            return partial(load(RESULTS).__unpack__, order.child, self._store.address)
        return partial(self._result_of, order.child, case.packer)

    def _result_of(self, name: str, packer: Packer) -> Any:
        finished = [e for e in self._store.outcome_log(name).entries() if isinstance(e, Finished)]
        return packer.unkept(finished[-1].value)

    # --- code ---

    def _begun(self, order: Order) -> Case:
        # as it is now: the file may be edited before the stage has ended, and the stage may end this process
        self._channel.tell(Begun(code=self._code(order.spec.model_dump_json(), order.at.path)))
        return self._case(order)

    def _case(self, order: Order) -> Case:
        experiment = self._experiment_of(order.spec)
        _check_unchanged(order, experiment.definition)
        return Case(order, experiment, self._packer(experiment.definition), self._store)

    def _packer(self, definition: Definition) -> Packer:
        return packer_for(definition, self._store.data, pickle=self._pickle)

    def _experiment_of(self, spec: ExperimentSpec) -> Loaded:
        return self._experiment(spec.model_dump_json())

    def _loaded(self, spec: str) -> Loaded:
        return loaded(ExperimentSpec.model_validate_json(spec), self._store)

    def _code_at(self, spec: str, path: str) -> str:
        """What changes with a stage's code; finding that out takes a millisecond."""
        node = self._experiment(spec).definition.nodes.get(path)
        return fingerprint_of(node.run) if isinstance(node, Stage) and node.run else ""


async def _decided(case: Case, output: Any) -> tuple[At, bool] | None:
    """What the predicate behind a stage says; asking it along saves a whole activity."""
    following = case.definition.predicates.get(case.order.at.path)
    if following is None:
        return None
    at = following.behind(case.order.at)
    try:
        return at, await case.operations.decide(at, output)
    except SweepError:  # it is asked again by itself, and its failure is its own then
        return None


def _check_unchanged(order: Order, definition: Definition) -> None:
    """Raises when the definition is not the one any more that is carried out."""
    if (fingerprint := definition.plan.fingerprint) != order.fingerprint:
        problem = (
            f"its pipeline was changed while it ran (it was {order.fingerprint}, and is {fingerprint}):"
            " undo the change, or run the new one under another name"
        )
        raise DefinitionError([problem], f"the experiment {order.name}")
