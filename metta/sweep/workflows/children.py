"""Children: the workflows that an experiment has started, their budgets, and what they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import COUNT_SPENT, END_EXPERIMENT
    from metta.sweep.contracts.advances import ExperimentEnd
    from metta.sweep.contracts.budgets import Budget, SharedBudget, Spent
    from metta.sweep.contracts.errors import BudgetSpent
    from metta.sweep.contracts.experiments import ExperimentControl, SpentOrder, Steering
    from metta.sweep.contracts.wording import budget_text
    from metta.sweep.workflows.executed import SUMMARY_CHARS, executed
    from metta.sweep.workflows.gate import Gate
    from metta.sweep.workflows.purse import Purse

Handle = workflow.ChildWorkflowHandle[Any, Any]


class Children:
    """The children that run, and the budget that they share.

    Args:
        name: Name of the experiment.
        gate: Knows how many there are.
        control: What people want of the experiment now.
    """

    def __init__(self, name: str, gate: Gate, control: Callable[[], ExperimentControl]) -> None:
        self._name, self._gate, self._control = name, gate, control
        self._running: dict[str, Handle] = {}
        self.purse = Purse(control().budget, Spent(), _nothing)
        self._counting = asyncio.Lock()  # what is counted holds until it is written into the purse

    def begin(self, spent: Spent) -> None:
        """Take over what was spent before this run, and how long earlier ones took."""
        began = workflow.time() - spent.seconds
        self.purse = Purse(self._control().budget, spent, lambda: workflow.time() - began)

    async def result(
        self,
        kind: str,
        input: dict[str, JsonValue],
        name: str,
        summary: str,
        begun: Callable[[Handle], None] = lambda _: None,
        waiting: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Let a child run to its end; cancelled, it waits for the end that this brings.

        Args:
            kind: Type of the workflow.
            input: Its input.
            name: Its id.
            summary: One line for people.
            begun: Called when it has begun.
            waiting: Called when it has to wait for what others give back of the budget.

        Raises:
            BudgetSpent: When nothing is left for it.
            ChildWorkflowError: When it gave nothing.
        """
        async with self._gate.with_child(), self._funded(kind, name, input, waiting) as granted:
            handle = self._running[name] = await self._started(kind, granted, name, summary)
            begun(handle)
            try:
                control = self._control()
                if control.pause or control.stop:  # that was wanted while it began
                    await _told(handle, Steering(pause=control.pause, stop=control.stop))
                result: dict[str, Any] = await handle
                return result
            finally:
                del self._running[name]

    async def steer(self, steering: Steering) -> None:
        """Tell all that run what is wanted of them."""
        for handle in list(self._running.values()):
            await _told(handle, steering)

    async def divide(self, budget: SharedBudget, *, by_force: bool = False) -> None:
        """Divide another budget among all that run.

        Args:
            budget: The new limits.
            by_force: Whether limits below what has been spent mean that nothing is left.

        Raises:
            DefinitionError: When more has been spent.
        """
        async with self._counting:
            names = (*self.purse.names, self._name)  # itself last: it is to contain what they have spent
            counted = (await executed(COUNT_SPENT, SpentOrder(names=names), "count what is spent")).spent
            spent = counted[self._name]
            granted = self.purse.change(budget.at_least(spent) if by_force else budget, spent, counted)
        for name, share in granted.items():
            if handle := self._running.get(name):
                limits = SharedBudget.model_validate(share.model_dump(exclude={"target"}))
                await _told(handle, Steering(budget=limits))

    @asynccontextmanager
    async def _funded(
        self, kind: str, name: str, input: dict[str, JsonValue], waiting: Callable[[], None]
    ) -> AsyncIterator[dict[str, JsonValue]]:
        """Within it a child has its share of the budget, if there is one; its input then says so."""
        asked = (SharedBudget if kind == "Experiment" else Budget).model_validate(input.get("budget") or {})
        if not self.purse.is_limited:
            self.purse.note(name, asked)
            granted = input
        else:
            share = await self._share(name, asked, waiting)
            granted = {**input, "budget": share.model_dump(mode="json", exclude_none=True), "granted": True}
        try:
            yield granted
        except (FailureError, asyncio.CancelledError):  # by name: one that is evicted can do nothing more
            await self._settle(name)
            raise
        await self._settle(name)

    async def _share(self, name: str, asked: Budget, waiting: Callable[[], None]) -> Budget:
        while True:
            async with self._counting:
                before = await self._spent_by(name)
                share = self.purse.grant(name, asked, before)
            if share:
                return share
            if not self.purse.has_time or not self.purse.names:
                own, outermost = name.removeprefix(f"{self._name}/"), self._name.partition("/")[0]
                raise BudgetSpent(
                    f"nothing is left for {own} of the budget that it shares"
                    f" ({budget_text(self.purse.budget)}): give {outermost} a larger one, and let it go on"
                )
            waiting()
            await self._news(self.purse.version)

    async def _news(self, version: int) -> None:
        """Wait until there may be more to grant."""
        await workflow.wait_condition(lambda: self.purse.version != version)

    async def _settle(self, name: str) -> None:
        """Give back what a child has not spent; also when this is being cancelled."""
        if not self.purse.is_limited or workflow.cancellation_reason() is not None:
            self.purse.settle(name, Spent())
            return
        async with self._counting:
            self.purse.settle(name, await self._spent_by(name))

    async def _spent_by(self, name: str) -> Spent:
        counted = await executed(COUNT_SPENT, SpentOrder(names=(name,)), f"count what {name} has spent")
        return counted.spent[name]

    async def _started(self, kind: str, input: JsonValue, name: str, summary: str) -> Handle:
        while True:
            try:
                return await workflow.start_child_workflow(
                    kind,
                    input,
                    id=name,
                    static_summary=summary[:SUMMARY_CHARS],
                    cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                )
            except WorkflowAlreadyStartedError:  # that of a run of this experiment that was ended by force
                await executed(END_EXPERIMENT, ExperimentEnd(name=name), "wait for the end of what runs")


async def _told(handle: Handle, steering: Steering) -> None:
    with suppress(FailureError):  # it has just ended
        await handle.signal("steer", steering)


def _nothing() -> float:
    return 0.0
