"""Steps: what a pipeline does to the world, as activities and child workflows."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import (
        ASK_PREDICATE,
        MERGE_BRANCHES,
        PREPARE_CHILD,
        RECOVER_STAGE,
        RUN_STAGE,
        ActivityReference,
    )
    from metta.sweep.contracts.errors import StageFailed
    from metta.sweep.contracts.experiments import (
        ExperimentSpec,
        MergeOrder,
        Order,
        RecoverOrder,
        StageOrder,
        StageResult,
    )
    from metta.sweep.contracts.plans import At, Plan, StageFailure, StageStep, width_of
    from metta.sweep.contracts.seeds import derived_seed
    from metta.sweep.contracts.values import Value, inline_bytes
    from metta.sweep.workflows.gate import Gate
    from metta.sweep.workflows.policies import HEARTBEAT, LONGEST, RETRY
    from metta.sweep.workflows.stage_table import StageTable

InputT = TypeVar("InputT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)

SUMMARY_CHARS = 100


class Steps:
    """The interpreter's port in a workflow: values are small, or references to what the store keeps.

    Args:
        name: Name of the experiment.
        spec: Where its code is.
        plan: What is run.
        gate: What lets steps begin.
        table: What they do.
        show: Called when the table has changed.
        seed: Seed of the stages' seeds; None derives them from the name.
    """

    def __init__(
        self,
        name: str,
        spec: ExperimentSpec,
        plan: Plan,
        gate: Gate,
        table: StageTable,
        show: Callable[[], None],
        seed: int | None = None,
    ) -> None:
        self._seed = seed
        self._gate, self._table, self._show = gate, table, show
        self._name = name
        self._common: dict[str, Any] = {
            "name": name,
            "spec": spec,
            "fingerprint": plan.fingerprint,
            "inline_bytes": inline_bytes(width_of(plan)),
            "seed": seed,
        }
        self._decided: dict[At, bool] = {}

    async def run_stage(self, step: StageStep, at: At, value: Value) -> Value:
        """Run a stage in this place, or in a workflow of its own."""
        order = StageOrder(at=at, value=value, timeout_s=step.timeout_s, retry=step.retry, **self._common)
        async with self._gate.passed(), self._table.running(at):
            self._show()
            if step.workflow:
                began = workflow.time()
                child = await self._child(step, order)
                order = order.model_copy(update={"child": child, "child_s": workflow.time() - began})
            return self._ended(at, await executed(RUN_STAGE, order, str(at)))

    async def recover(self, at: At, value: Value, failure: StageFailure) -> Value:
        """Ask the stage's ``on_error``."""
        order = RecoverOrder(at=at, value=value, failure=failure, **self._common)
        async with self._gate.passed(), self._table.running(at):
            return self._ended(at, await executed(RECOVER_STAGE, order, f"{at}: on_error"))

    async def decide(self, at: At, value: Value) -> bool:
        """Ask a predicate, unless it was asked along with the stage before it."""
        if at in self._decided:
            return self._decided.pop(at)
        async with self._gate.passed():
            order = Order(at=at, value=value, **self._common)
            return (await executed(ASK_PREDICATE, order, f"{at}: predicate")).answer

    async def merge(self, at: At, value: Value, results: Sequence[Value]) -> Value:
        """Merge the results of parallel branches."""
        order = MergeOrder(at=at, value=value, results=tuple(results), **self._common)
        async with self._gate.passed():
            return await executed(MERGE_BRANCHES, order, f"{at}: merge")

    def _ended(self, at: At, result: StageResult) -> Value:
        self._table.end(result)
        self._show()
        if result.decided:
            predicate, answer = result.decided
            self._decided[predicate] = answer
        return result.value

    async def _child(self, step: StageStep, order: StageOrder) -> str | None:
        """Let a workflow of its own do a stage's work; None when there is nothing to do."""
        child = await executed(PREPARE_CHILD, order, f"{order.at}: prepare")
        if child.input is None:
            return None
        name = _child_name(self._name, order.at, child.anew)
        async with self._gate.with_child():
            try:
                await workflow.execute_child_workflow(
                    step.workflow or "",
                    self._seeded(order.at, child.input),
                    id=name,
                    static_summary=child.summary[:SUMMARY_CHARS],
                    cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                )
            except ChildWorkflowError as error:
                raise _child_failed(order.at, error) from error
        return name

    def _seeded(self, at: At, input: JsonValue) -> JsonValue:
        """A child's input, with a seed of its own where this experiment has one."""
        if self._seed is None or not isinstance(input, dict):
            return input
        return {"seed": derived_seed(self._seed, 0, str(at)), **input}


def _child_name(parent: str, at: At, anew: int) -> str:
    """The workflow of a stage, by the same name at each attempt, until it is forgotten."""
    turns = f"@{'.'.join(map(str, at.turns))}" if at.turns else ""
    return f"{parent}/{at.path}{turns}" + (f"~{anew}" if anew else "")


async def executed(reference: ActivityReference[InputT, ResultT], order: InputT, summary: str) -> ResultT:
    """What an activity gives.

    Raises:
        StageFailed: When user code has failed for good.
    """
    try:
        result: ResultT = await workflow.execute_activity(
            reference.name,
            order,
            result_type=reference.result,
            start_to_close_timeout=LONGEST,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary[:SUMMARY_CHARS],
        )
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.type == StageFailed.__name__:
            raise StageFailed(StageFailure.model_validate(error.cause.details[0])) from error
        raise
    return result


def _child_failed(at: At, error: ChildWorkflowError) -> BaseException:
    """What the failure of a child is to its stage; a cancelled child cancels its parent's stage."""
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return error
    return StageFailed(StageFailure(stage=str(at), kind="user", message=cause.message, attempts=1))
