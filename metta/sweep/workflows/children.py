"""Children: the workflows that an experiment has started, their budgets, and what they are told."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
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
    from metta.sweep.workflows.purse import LIMITS, Purse

Handle = workflow.ChildWorkflowHandle[Any, Any]
Input = dict[str, JsonValue]


class Clock:
    """How long the experiment has been running, its pauses left out."""

    def __init__(self, elapsed_s: float = 0.0) -> None:
        self._began = workflow.time() - elapsed_s
        self._paused: float | None = None

    @property
    def elapsed_s(self) -> float:
        """In seconds."""
        return (workflow.time() if self._paused is None else self._paused) - self._began

    def pause(self, is_paused: bool) -> None:
        """Stand still, or go on."""
        if is_paused and self._paused is None:
            self._paused = workflow.time()
        elif not is_paused and self._paused is not None:
            self._began += workflow.time() - self._paused
            self._paused = None


class Children:
    """The children that run, and the budget that they share.

    Args:
        name: Name of the experiment.
        gate: Knows how many there are.
        control: What people want of the experiment now.
        owner: The experiment whose limit it is that holds here.
    """

    def __init__(
        self,
        name: str,
        gate: Gate,
        control: Callable[[], ExperimentControl],
        owner: Callable[[str], str],
    ) -> None:
        self._name, self._gate, self._control, self._owner = name, gate, control, owner
        self._running: dict[str, Handle] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._counting = asyncio.Lock()  # what is counted holds until it is written into the purse
        self.begin(Spent())

    def begin(self, spent: Spent) -> None:
        """Take over what was spent before this run, and how long earlier ones took."""
        clock = self.clock = Clock(spent.seconds)
        self.purse = Purse(self._control().budget, spent, lambda: clock.elapsed_s)

    @property
    def is_settled(self) -> bool:
        """Whether all that has ended has given back what it has not spent."""
        return not self._settling

    async def result(
        self,
        kind: str,
        input: Input,
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
            waiting: Called when it has to wait for others before that.

        Raises:
            BudgetSpent: When nothing is left for it.
            FailureError: When it gave nothing.
        """
        async with self._gate.with_child():
            granted = await self._funded(kind, name, input, waiting)
            try:
                result = await self._ended(kind, granted, name, summary, begun, waiting)
            except (FailureError, asyncio.CancelledError):  # by name: one that is evicted can do nothing more
                self._settle_soon(name)
                raise
            self._settle_soon(name)
            return result

    async def steer(self, steering: Steering) -> None:
        """Tell all that run what is wanted of them."""
        if steering.pause is not None:
            self.clock.pause(steering.pause)
        for handle in list(self._running.values()):
            await _told(handle, steering)

    async def divide(
        self, change: Callable[[SharedBudget], SharedBudget], *, by_force: bool = False
    ) -> SharedBudget:
        """Divide another budget among all that run.

        Args:
            change: Makes the new limits of those in force.
            by_force: Whether limits below what has been spent mean that nothing is left.

        Returns:
            The new limits.

        Raises:
            DefinitionError: When more has been spent.
        """
        async with self._counting:
            names = (*self.purse.names, self._name)  # itself last: it is to contain what they have spent
            counted = (await executed(COUNT_SPENT, SpentOrder(names=names), "count what is spent")).spent
            spent, budget = counted[self._name], change(self.purse.budget)
            shares = self.purse.change(budget.at_least(spent) if by_force else budget, spent, counted)
        for name, share in shares.items():
            if handle := self._running.get(name):
                await _told(handle, self._of_share(name, share))
        return budget

    async def _ended(
        self,
        kind: str,
        input: Input,
        name: str,
        summary: str,
        begun: Callable[[Handle], None],
        waiting: Callable[[], None],
    ) -> dict[str, Any]:
        handle = await self._started(kind, input, name, summary, waiting)
        self._running[name] = handle
        try:
            begun(handle)
            await self._catch_up(handle, name, input)
            result: dict[str, Any] = await handle
        except asyncio.CancelledError:
            handle.cancel()
            result = await handle
        finally:
            del self._running[name]
        return result

    async def _catch_up(self, handle: Handle, name: str, input: Input) -> None:
        """Tell a child what is wanted by now that was not when its input was made."""
        control = self._control()
        if control.pause or control.stop:
            await _told(handle, Steering(pause=control.pause, stop=control.stop))
        share = self.purse.share(name)
        if share and _plain(share) != input.get("budget"):
            await _told(handle, self._of_share(name, share))

    def _of_share(self, name: str, share: Budget) -> Steering:
        budget = SharedBudget.model_validate(share.model_dump(exclude={"target"}))
        return Steering(budget=budget, owners=self._owners(name))

    def _owners(self, name: str) -> dict[str, str]:
        """Whose limits hold for a child: where it has all that it asks for they are its own."""
        own = self.purse.own(name)
        return {limit: name if limit in own else self._owner(limit) for limit in LIMITS}

    async def _funded(self, kind: str, name: str, input: Input, waiting: Callable[[], None]) -> Input:
        """The input of a child with its share of the budget, once there is one."""
        asked = (SharedBudget if kind == "Experiment" else Budget).model_validate(input.get("budget") or {})
        before: Spent | None = None
        while True:
            await workflow.wait_condition(lambda: self.is_settled)
            async with self._counting:
                if not self.purse.is_limited:
                    self.purse.note(name, asked)
                    return input
                before = before or await self._spent_by(name)  # which stays as it is until it begins
                if share := self.purse.grant(name, asked, before):
                    owners: Input = {"owners": {**self._owners(name)}} if kind == "Experiment" else {}
                    return {**input, "budget": _plain(share), "granted": True, **owners}
                version = self.purse.version
            if not self.purse.has_time or not self.purse.names:
                raise self._nothing_left(name, self.purse.lacking(asked, before))
            waiting()
            await self._news(version)

    def _nothing_left(self, name: str, limits: Iterable[str]) -> BudgetSpent:
        own, outermost = name.removeprefix(f"{self._name}/"), self._name.partition("/")[0]
        # of several, an inner one is told: it is not seen from outside
        owner = max(map(self._owner, limits), key=len, default=outermost)
        way_out = f"give {outermost} a larger one, and let it go on"
        if owner != outermost:
            way_out = (
                f"it is that of {owner}, given in code: give it a larger one there (`budget=` where it is"
                f" run), and let {outermost} go on"
            )
        return BudgetSpent(
            f"nothing is left for {own} of the budget that it shares ({budget_text(self.purse.budget)}):"
            f" {way_out}"
        )

    async def _news(self, version: int) -> None:
        """Wait until there may be more to grant."""
        await workflow.wait_condition(lambda: self.purse.version != version)

    def _settle_soon(self, name: str) -> None:
        """Let a child give back what it has not spent, whatever happens to whoever has waited for it."""
        task = asyncio.create_task(self._settle(name))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, name: str) -> None:
        async with self._counting:
            now: Spent | None = None
            if self.purse.is_limited and workflow.cancellation_reason() is None:
                with suppress(FailureError):  # its record is damaged, which is told elsewhere
                    now = await self._spent_by(name)
            self.purse.settle(name, now)

    async def _spent_by(self, name: str) -> Spent:
        counted = await executed(COUNT_SPENT, SpentOrder(names=(name,)), f"count what {name} has spent")
        return counted.spent[name]

    async def _started(
        self, kind: str, input: Input, name: str, summary: str, waiting: Callable[[], None]
    ) -> Handle:
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
                waiting()
                await executed(END_EXPERIMENT, ExperimentEnd(name=name), "wait for the end of what runs")


async def _told(handle: Handle, steering: Steering) -> None:
    with suppress(FailureError):  # it has just ended
        await handle.signal("steer", steering)


def _plain(share: Budget) -> Input:
    return share.model_dump(mode="json", exclude_none=True)
