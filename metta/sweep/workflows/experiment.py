"""The workflow of an experiment: it carries out a plan, and leaves all user code to activities."""

import asyncio
from typing import Literal

from pydantic import JsonValue
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import COUNT_SPENT, FINISH_EXPERIMENT, PLAN_EXPERIMENT
    from metta.sweep.contracts.budgets import SharedBudget
    from metta.sweep.contracts.errors import DefinitionError, StageFailed, SweepEnded
    from metta.sweep.contracts.experiments import (
        Beginning,
        ExperimentControl,
        ExperimentInput,
        ExperimentResult,
        ExperimentState,
        ExperimentStatus,
        FinishOrder,
        PlanInput,
        SpentOrder,
        Steering,
    )
    from metta.sweep.contracts.models import parse
    from metta.sweep.contracts.nested import NestedKey, NestedRun, NestedState
    from metta.sweep.contracts.plans import Plan, Position
    from metta.sweep.contracts.raised import details_of
    from metta.sweep.contracts.values import Value
    from metta.sweep.pipeline.interpreter import Interpreter
    from metta.sweep.workflows.children import Children
    from metta.sweep.workflows.executed import executed
    from metta.sweep.workflows.gate import Gate
    from metta.sweep.workflows.inputs import input_from, only, signalled
    from metta.sweep.workflows.nested import NestedRuns
    from metta.sweep.workflows.policies import FULL_EVENTS
    from metta.sweep.workflows.stage_table import StageTable
    from metta.sweep.workflows.steps import Steps

ENDING = "record the end"
NOTHING = Value()

STATUS = SearchAttributeKey.for_keyword("SweepStatus")


@workflow.defn(name="Experiment")
class Experiment:
    """Runs the stages of an experiment.

    What it is told is taken as plain JSON and read here, as by the workflow ``Sweep``.
    """

    @workflow.init
    def __init__(self, *input: JsonValue) -> None:
        self._control = ExperimentControl()
        self._gate, self._table = Gate(self._is_shut), StageTable()
        name = workflow.info().workflow_id
        self._children = Children(
            name, self._gate, lambda: self._control, lambda limit: self._input.owner_of(limit, name)
        )
        self._nested = NestedRuns(name, self._children, self._is_held)
        self._steps: Steps | None = None
        self._state: ExperimentState = "running"
        self._reason, self._shown = "", ""
        self._wrong: DefinitionError | None = None
        try:
            self._input = input_from(ExperimentInput, input)
        except DefinitionError as error:  # raised by ``run``: the engine would leak a coroutine here
            self._wrong = error
        else:
            self._control = self._input.control
            if self._input.beginning is None:
                self._control = self._control.model_copy(update={"budget": self._input.budget})
            self._state = self._control.state

    @workflow.run
    async def run(self, *input: JsonValue) -> ExperimentResult:
        """Run all stages that have not ended yet."""
        try:
            if self._wrong:
                raise self._wrong
            self._show()
            return await self._run()
        except (ActivityError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._over("cancelled")
            elif isinstance(error, ActivityError) and isinstance(error.cause, ApplicationError):
                self._over("failed", str(error.cause.type))
                raise error.cause from None  # a mistake of the user: tell it without wrapping
            raise
        except (StageFailed, DefinitionError) as error:
            self._over("failed", str(error))
            kind, details = type(error).__name__, details_of(error)
            raise ApplicationError(str(error), *details, type=kind, non_retryable=True) from error

    @workflow.update
    async def pause(self, *_: JsonValue) -> ExperimentControl:
        """Let no other stage begin; those that run may end, but for their sweeps and experiments."""
        return await self._change(Steering(pause=True))

    @pause.validator
    def _check_pause(self, *_: JsonValue) -> None:
        if self._control.stop:
            raise SweepEnded("the experiment is being stopped; run it again with resume=True (`--resume`)")

    @workflow.update
    async def resume(self, *_: JsonValue) -> ExperimentControl:
        """Go on after a pause."""
        return await self._change(Steering(pause=False))

    @workflow.update
    async def stop(self, *_: JsonValue) -> ExperimentControl:
        """End as soon as the stages that run have ended; their sweeps and experiments are stopped."""
        return await self._change(Steering(stop=True))

    @workflow.update
    async def set_budget(self, *budget: JsonValue) -> ExperimentControl:
        """Change the limits that are given; the others stay. What runs gets its share of them."""
        given = self._budget_from(budget)
        try:
            changed = await self._children.divide(lambda in_force: in_force.changed(given))
        except DefinitionError as error:
            raise ApplicationError(str(error), *details_of(error), type=type(error).__name__) from error
        self._control = self._control.model_copy(update={"budget": changed})
        self._show()
        return self._control

    @set_budget.validator
    def _check_budget(self, *budget: JsonValue) -> None:
        self._budget_from(budget)
        if self._input.granted:
            problem = "its budget is a share of that of the experiment that it runs within; change that one"
            raise DefinitionError([problem], workflow.info().workflow_id)

    @workflow.signal
    async def steer(self, *given: JsonValue) -> None:
        """What the experiment wants of it within which it runs."""
        if (steering := signalled(Steering, given, "the signal steer")) is None:
            return
        if (share := steering.budget) is not None:
            budget = await self._children.divide(lambda _: share, by_force=True)
            self._control = self._control.model_copy(update={"budget": budget})
            self._input = self._input.model_copy(update={"granted": True, "owners": steering.owners})
        await self._change(steering)

    @workflow.update
    async def nest(self, *given: JsonValue) -> NestedState:
        """Let a run begin that the code of a stage asks for."""
        run = NestedRun.model_validate(only(given, "the update nest"))
        if self._control.stop and self._steps:
            self._steps.give_up(run.at)
        return await self._nested.begin(run)

    @nest.validator
    def _check_nest(self, *given: JsonValue) -> None:
        run = NestedRun.model_validate(only(given, "the update nest"))
        if self._steps is None or not self._steps.is_running(run.at):
            raise SweepEnded(f"the stage {run.at} is over")

    @workflow.signal
    def unnest(self, *given: JsonValue) -> None:
        """Let a nested run end: the code of the stage does not want it any more."""
        if key := signalled(NestedKey, given, "the signal unnest"):
            self._nested.drop(key)

    @workflow.query
    def nested(self, *given: JsonValue) -> NestedState:
        """Whether a nested run has begun that had to wait."""
        return self._nested.state(NestedKey.model_validate(only(given, "the query nested")))

    @workflow.query
    def status(self) -> ExperimentStatus:
        """Where the experiment stands."""
        return ExperimentStatus(
            state=self._state,
            ended=self._table.ended,
            rows=self._table.rows,
            control=self._control,
            reason=self._reason,
        )

    async def _run(self) -> ExperimentResult:
        beginning = self._input.beginning or await self._planned()
        self._table.ended, position = beginning.ended, beginning.position
        self._children.begin(beginning.spent)
        name = workflow.info().workflow_id
        given = self._input
        self._steps = Steps(
            name,
            given.spec,
            beginning.plan,
            self._gate,
            self._children,
            self._nested,
            self._table,
            self._show,
            given.seed,
        )
        running = asyncio.create_task(Interpreter(self._steps).run(beginning.plan, position))
        try:
            await workflow.wait_condition(lambda: running.done() or self._is_drained())
        except asyncio.CancelledError:  # by name: a workflow that is evicted must not wait for anything more
            await _cut_off(running)
            raise
        await _cut_off(running)
        if running.cancelled():
            await workflow.wait_condition(
                lambda: workflow.all_handlers_finished() and self._children.is_settled
            )
            if not self._control.stop:
                workflow.continue_as_new(self._continued(beginning.plan, position))
            return await self._finished(name, "stopped")
        try:
            value = running.result()
        except StageFailed as error:
            order = FinishOrder(name=name, reason="failed", message=str(error), budget=self._control.budget)
            await executed(FINISH_EXPERIMENT, order, ENDING)
            raise
        return await self._finished(name, "completed", value)

    def _budget_from(self, given: tuple[JsonValue, ...]) -> SharedBudget:
        budget = parse(SharedBudget, only(given, "the budget"), "the budget")
        if self._control.stop:
            raise SweepEnded("the experiment is being stopped; run it again with resume=True (`--resume`)")
        return budget

    async def _planned(self) -> Beginning:
        info, input = workflow.info(), self._input
        order = PlanInput(
            name=info.workflow_id,
            spec=input.spec,
            input=input.input,
            given=input.given,
            # a run that was reset goes on with what is recorded
            resume=input.resume or info.run_id != info.first_execution_run_id,
            from_stage=input.from_stage,
            run=info.run_id,
            first_run=info.first_execution_run_id,
            seed=input.seed,
            owner=input.owner,
            budget=self._control.budget,
        )
        beginning = await executed(PLAN_EXPERIMENT, order, "check the pipeline")
        if not (self._control.budget.is_limited and order.resume):
            return beginning
        name = info.workflow_id
        counted = await executed(COUNT_SPENT, SpentOrder(names=(name,)), "count what was spent before")
        return beginning.model_copy(update={"spent": counted.spent[name]})

    async def _finished(
        self, name: str, reason: Literal["completed", "stopped"], value: Value = NOTHING
    ) -> ExperimentResult:
        """Record the end before it is told."""
        order = FinishOrder(name=name, reason=reason, value=value, budget=self._control.budget)
        await executed(FINISH_EXPERIMENT, order, ENDING)
        self._over("finished", reason)
        return ExperimentResult(name=name, reason=reason, value=value)

    def _is_shut(self) -> bool:
        return self._control.pause or self._control.stop or self._is_full()

    def _is_held(self) -> bool:
        """Whether no nested run is to begin; its stage has begun, and so history is full for nobody here."""
        return self._control.pause or self._control.stop

    def _is_drained(self) -> bool:
        return (self._control.stop or self._is_full()) and self._gate.inside == 0

    def _is_full(self) -> bool:
        """Whether history is to begin anew; a child may last for days, and nothing is to wait for it."""
        info = workflow.info()
        has_room = self._gate.children > 0 and info.get_current_history_length() < FULL_EVENTS
        return info.is_continue_as_new_suggested() and not has_room

    def _continued(self, plan: Plan, position: Position[Value]) -> ExperimentInput:
        spent = self._children.purse.total
        beginning = Beginning(plan=plan, position=position, ended=self._table.ended, spent=spent)
        return self._input.model_copy(update={"control": self._control, "beginning": beginning})

    async def _change(self, steering: Steering) -> ExperimentControl:
        changes = {"pause": steering.pause} if steering.pause is not None else {}
        if steering.stop:
            changes["stop"] = True
        self._control = self._control.model_copy(update=changes)
        self._state = self._control.state
        self._show()
        if steering.stop and self._steps:  # before what they wait for ends, which they would take for all
            await self._steps.stop()
        await self._children.steer(Steering(pause=steering.pause, stop=steering.stop))
        return self._control

    def _over(self, state: ExperimentState, reason: str = "") -> None:
        self._state, self._reason = state, reason
        self._show()

    def _show(self) -> None:
        """What the Temporal UI shows, and what lists of workflows can be filtered by."""
        reason = f": {self._reason}" if self._reason else ""
        workflow.set_current_details(f"**{self._state}**{reason}\n\n{self._table.markdown()}")
        if self._shown != self._state:  # each is an event in history
            self._shown = self._state
            workflow.upsert_search_attributes([STATUS.value_set(self._state)])


async def _cut_off(running: asyncio.Task[Value]) -> None:
    """End it between two steps: its position says how to go on."""
    running.cancel()
    await workflow.wait([running])
    if not running.cancelled():
        running.exception()  # it is looked at, or a cancelled experiment would be told to have lost it
