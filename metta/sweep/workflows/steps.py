"""Steps: what a pipeline does to the world, as activities and child workflows."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import (
        ASK_PREDICATE,
        MERGE_BRANCHES,
        PREPARE_CHILD,
        RECOVER_STAGE,
        RUN_STAGE,
    )
    from metta.sweep.contracts.errors import BudgetSpent, StageFailed
    from metta.sweep.contracts.experiments import (
        ExperimentSpec,
        MergeOrder,
        Order,
        RecoverOrder,
        StageOrder,
        StageResult,
    )
    from metta.sweep.contracts.nested import child_name
    from metta.sweep.contracts.plans import At, Plan, StageFailure, StageStep, width_of
    from metta.sweep.contracts.seeds import derived_seed
    from metta.sweep.contracts.values import Value, inline_bytes
    from metta.sweep.workflows.children import Children
    from metta.sweep.workflows.executed import executed
    from metta.sweep.workflows.gate import Gate
    from metta.sweep.workflows.nested import NestedRuns
    from metta.sweep.workflows.stage_table import StageTable


class Steps:
    """The interpreter's port in a workflow: values are small, or references to what the store keeps.

    Args:
        name: Name of the experiment.
        spec: Where its code is.
        plan: What is run.
        gate: What lets steps begin.
        children: What carries out workflows that do the work of stages.
        nested: The runs that the code of stages asks for.
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
        children: Children,
        nested: NestedRuns,
        table: StageTable,
        show: Callable[[], None],
        seed: int | None = None,
    ) -> None:
        self._seed = seed
        self._children, self._nested = children, nested
        self._gate, self._table, self._show = gate, table, show
        self._name, self._spec = name, spec
        self._common: dict[str, Any] = {
            "name": name,
            "spec": spec,
            "fingerprint": plan.fingerprint,
            "inline_bytes": inline_bytes(width_of(plan)),
            "seed": seed,
        }
        self._attempts: dict[At, asyncio.Task[StageResult]] = {}
        self._given_up: set[At] = set()
        self._is_stopping = False
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
            if not (step.workflow and self._is_stopping) and (result := await self._attempted(order)):
                return self._ended(at, result)
        await workflow.wait_condition(lambda: False)  # it is begun again when the experiment goes on
        raise AssertionError

    async def stop(self) -> None:
        """Give up those stages that wait for nested runs: these are stopped, and go on when it does."""
        self._is_stopping = True
        for at in self._nested.stages:
            self.give_up(at)
        await workflow.wait_condition(lambda: not self._given_up & self._attempts.keys())

    def is_running(self, at: At) -> bool:
        """Whether the code of a stage runs, so that it may ask for something."""
        return at in self._attempts

    def give_up(self, at: At) -> None:
        """Give up a stage that asks for a nested run."""
        if attempt := self._attempts.get(at):
            self._given_up.add(at)
            attempt.cancel()

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

    async def _attempted(self, order: StageOrder) -> StageResult | None:
        """What a stage gives; None when it is given up because the experiment is stopped."""
        at = order.at
        attempt = self._attempts[at] = asyncio.create_task(executed(RUN_STAGE, order, str(at)))
        try:
            result = await attempt
        except (StageFailed, ActivityError, asyncio.CancelledError):
            del self._attempts[at]
            is_given_up = at in self._given_up
            await self._nested.end(at, cancel=not is_given_up)
            if not is_given_up:
                raise
            return None
        del self._attempts[at]
        await self._nested.end(at, cancel=True)  # those that it has not waited for
        return result

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
        name = child_name(self._name, order.at, anew=child.anew)
        input = self._deeper(step, order.at, self._seeded(order.at, child.input))
        try:
            await self._children.result(step.workflow or "", input, name, child.summary)
        except ChildWorkflowError as error:
            raise _child_failed(order.at, error) from error
        except BudgetSpent as error:
            failure = StageFailure(stage=str(order.at), kind="user", message=str(error), attempts=1)
            raise StageFailed(failure) from error
        return name

    def _deeper(self, step: StageStep, at: At, input: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """A child's input with what it runs within, where it has stages itself, or its trials have."""
        lineage: list[JsonValue] = [*self._spec.lineage, str(at)]
        if step.workflow == "Experiment":
            return {**input, "lineage": lineage}
        objective = input.get("objective")
        if not isinstance(objective, dict) or "experiment" not in objective:
            return input
        return {**input, "objective": {**objective, "lineage": lineage}}

    def _seeded(self, at: At, input: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """A child's input, with a seed of its own where this experiment has one."""
        if self._seed is None:
            return input
        return {"seed": derived_seed(self._seed, 0, str(at)), **input}


def _child_failed(at: At, error: ChildWorkflowError) -> BaseException:
    """What the failure of a child is to its stage; a cancelled child cancels its parent's stage."""
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return error
    return StageFailed(StageFailure(stage=str(at), kind="user", message=cause.message, attempts=1))
