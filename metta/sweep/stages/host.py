"""The host: carries out orders in stage processes, and records what comes of them before it is told."""

import asyncio
from asyncio import Semaphore
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import time
from typing import NoReturn

from metta.sweep.contracts.attempts import LOGS
from metta.sweep.contracts.budgets import SharedBudget, check_goes_on
from metta.sweep.contracts.changes import changes_since
from metta.sweep.contracts.errors import (
    DefinitionChanged,
    DefinitionError,
    NameInUse,
    StageFailed,
    SweepError,
)
from metta.sweep.contracts.experiments import (
    Answer,
    Beginning,
    Child,
    FinishOrder,
    MergeOrder,
    Order,
    PlanInput,
    RecoverOrder,
    StageOrder,
    StageResult,
)
from metta.sweep.contracts.outcomes import (
    AttemptFailed,
    Began,
    Decided,
    Finished,
    Merged,
    StageEnded,
)
from metta.sweep.contracts.plans import At, Plan, StageFailure, width_of
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.behind import behind
from metta.sweep.pipeline.runner import is_retried
from metta.sweep.stages.frontier import frontier
from metta.sweep.stages.messages import (
    ChildTask,
    DecideTask,
    LoadTask,
    MergeTask,
    PlanTask,
    RecoverTask,
    Reply,
    StageTask,
    Task,
)
from metta.sweep.stages.nested import RecordedRuns
from metta.sweep.stages.processes import StageDied, StageProcesses
from metta.sweep.stages.recording import recorded
from metta.sweep.stages.restarts import restart
from metta.sweep.stages.waits import NOBODY, Nest
from metta.sweep.stores.base import Store
from metta.sweep.stores.outcomes import Outcomes
from metta.sweep.stores.spending import Spending
from metta.sweep.telemetry.tracing import traceparent

CROWD = 16
"""So many stages of one depth may wait for nested runs, each with a process, beside those that run code."""


class TryAgain(Exception):
    """An attempt has failed by its own fault, and there is another one.

    Args:
        failure: Why it failed.
        delay_s: How long to wait before.
    """

    def __init__(self, failure: StageFailure, delay_s: float) -> None:
        super().__init__(failure.message)
        self.failure, self.delay_s = failure, delay_s


class StageTrouble(SweepError):
    """What a stage needs is broken for now, such as the store; it is tried again."""


class StageHost:
    """Carries out what the activities of experiments are ordered to.

    Every result is recorded before it is returned, and one that is recorded is returned as it is.

    Args:
        store: Where outcome logs lie.
        processes: What runs user code.
    """

    def __init__(self, store: Store, processes: StageProcesses) -> None:
        self._store, self._processes = store, processes
        self._known: dict[str, Outcomes] = {}
        # by depth: what waits here waits for what is deeper, and so not for its turn
        self._crowds = defaultdict[int, Semaphore](lambda: Semaphore(processes.limit + CROWD))

    async def plan(self, input: PlanInput, check: Callable[[Plan], Awaitable[None]]) -> Beginning:
        """Check an experiment, and find where its run begins.

        Args:
            input: What is asked.
            check: Raises when its plan cannot be told.

        Raises:
            DefinitionError: When it cannot be run as it is defined, its name is in use, or it continues
                an experiment that is another one, or has spent more than it may.
        """
        outcomes = await self._outcomes(input.name)
        log = self._log(input.name, "@plan")
        task = PlanTask(log=log, spec=input.spec, input=input.input, given=input.given)
        reply, _ = await self._carried_out(input.name, task)
        assert reply.plan is not None
        await check(reply.plan)
        self._processes.prepare(width_of(reply.plan), LoadTask(log=log, spec=input.spec))
        began = outcomes.began
        if began is None or began.run != input.run:
            is_foreign = bool(began and began.owner and input.owner and began.owner != input.owner)
            before = None if is_foreign else began
            now = _beginning(input, reply, before).model_copy(update={"anew": is_foreign})
            _check_same(input, before, now)
            if before and input.run == input.first_run and "/" not in input.name:
                await asyncio.to_thread(self._check_budget, input, (outcomes.finished or before).budget)
            if input.from_stage and not outcomes.has_begun(input.first_run):  # one that is reset forgets once
                now = await asyncio.to_thread(_forgetting, input, reply.plan, now, outcomes)
            began = now
            await recorded(outcomes, began)
        position = await asyncio.to_thread(frontier, reply.plan, began.input, outcomes)
        return Beginning(plan=reply.plan, position=position, ended=outcomes.counts.total())

    async def run_stage(self, order: StageOrder, nest: Nest) -> StageResult:
        """Make an attempt of a stage, unless it has ended before.

        Args:
            order: Which stage.
            nest: What carries out its nested runs.

        Raises:
            TryAgain: When it failed, and is to be tried again.
            StageFailed: When it failed for good.
        """
        outcomes = await self._outcomes(order.name)
        if found := _found(outcomes, order.at):
            return found
        before = outcomes.failure(order.at)
        if before and not is_retried(order.retry, before.kind, before.attempts):
            raise StageFailed(before)  # its end was recorded, and then its worker died
        failed = before.attempts if before else 0
        anew, log = outcomes.times_forgotten(order.at), self._log(order.name, order.at.path)
        task = StageTask(log=log, order=order, failed=failed, anew=anew)
        nested = RecordedRuns(nest, order.name, outcomes)
        async with self._crowds[len(order.spec.lineage)]:
            reply, seconds = await self._replied(order.name, task, order.at, order.timeout_s, failed, nested)
        if reply.failure:
            await self._failed(order, reply.failure, reply.code, outcomes)
        return await self._ended(order, reply, seconds + order.child_s, outcomes)

    async def recover(self, order: RecoverOrder) -> StageResult:
        """Ask the ``on_error`` of a stage.

        Raises:
            StageFailed: When it gives nothing in place of the failure.
        """
        outcomes = await self._outcomes(order.name)
        if found := _found(outcomes, order.at):
            return found
        task = RecoverTask(log=self._log(order.name, order.at.path), order=order)
        failed = order.failure.attempts
        reply, seconds = await self._carried_out(order.name, task, order.at, failed=failed)
        return await self._ended(order, reply, seconds, outcomes)

    async def ask(self, order: Order) -> Answer:
        """Ask a predicate.

        Raises:
            StageFailed: When it does not answer.
        """
        outcomes = await self._outcomes(order.name)
        if not isinstance(found := outcomes.of(order.at), Decided):
            task = DecideTask(log=self._log(order.name, order.at.path), order=order)
            reply, _ = await self._carried_out(order.name, task, order.at)
            found = Decided(recorded=time(), at=order.at, answer=reply.answer)
            await recorded(outcomes, found)
        return Answer(answer=found.answer)

    async def merge(self, order: MergeOrder) -> Value:
        """Merge the results of parallel branches.

        Raises:
            StageFailed: When they cannot be merged.
        """
        outcomes = await self._outcomes(order.name)
        if not isinstance(found := outcomes.of(order.at), Merged):
            task = MergeTask(log=self._log(order.name, order.at.path), order=order)
            reply, _ = await self._carried_out(order.name, task, order.at)
            found = Merged(recorded=time(), at=order.at, value=reply.value)
            await recorded(outcomes, found)
        return found.value

    async def child(self, order: Order) -> Child:
        """Ask what the workflow that does a stage's work is to be given.

        Raises:
            StageFailed: When a hook before it failed.
        """
        outcomes = await self._outcomes(order.name)
        if outcomes.of(order.at) is not None:
            return Child()
        task = ChildTask(log=self._log(order.name, order.at.path), order=order)
        reply, seconds = await self._carried_out(order.name, task, order.at)
        if reply.outcome is not None:  # skipped
            await self._ended(order, reply, seconds, outcomes)
            return Child()
        anew = outcomes.times_forgotten(order.at)
        return Child(input=reply.child, summary=reply.summary, anew=anew)

    async def finish(self, order: FinishOrder) -> None:
        """Record how an experiment has ended."""
        outcomes = await self._outcomes(order.name)
        ended = order.model_dump(exclude={"name"})
        await recorded(outcomes, Finished(recorded=time(), **ended))
        self._known.pop(order.name, None)
        await asyncio.to_thread(outcomes.close)

    # --- what is recorded ---

    async def _outcomes(self, name: str) -> Outcomes:
        if (outcomes := self._known.get(name)) is None:
            log = await asyncio.to_thread(self._store.outcome_log, name)
            outcomes = self._known.setdefault(name, Outcomes(log))
        if not outcomes.is_near or outcomes.has_news():
            await asyncio.to_thread(outcomes.refresh)
        return outcomes

    async def _ended(self, order: Order, reply: Reply, seconds: float, outcomes: Outcomes) -> StageResult:
        assert reply.outcome is not None
        entry = StageEnded(
            recorded=time(),
            at=order.at,
            outcome=reply.outcome,
            value=reply.value,
            code=reply.code,
            seconds=seconds,
            input=order.value.digest,
        )
        asked = reply.decided
        answers = [Decided(recorded=time(), at=asked[0], answer=asked[1])] if asked else []
        await recorded(outcomes, entry, *answers)
        return StageResult(value=reply.value, outcome=reply.outcome, seconds=seconds, decided=asked)

    async def _failed(
        self, order: StageOrder, failure: StageFailure, code: str, outcomes: Outcomes
    ) -> NoReturn:
        entry = AttemptFailed(
            recorded=time(), at=order.at, failure=failure, code=code, input=order.value.digest
        )
        await recorded(outcomes, entry)
        if is_retried(order.retry, failure.kind, failure.attempts):
            raise TryAgain(failure, order.retry.delay_s(failure.attempts))
        raise StageFailed(failure)

    # --- processes ---

    async def _carried_out(
        self, name: str, task: Task, at: At | None = None, failed: int = 0
    ) -> tuple[Reply, float]:
        """What came of a task.

        Raises:
            DefinitionError: When the experiment cannot be run as it is defined.
            StageFailed: When user code has failed.
            StageDied: When its process died by nobody's fault.
        """
        reply, seconds = await self._replied(name, task, at, failed=failed)
        if reply.failure:
            raise StageFailed(reply.failure)
        return reply, seconds

    async def _replied(
        self,
        name: str,
        task: Task,
        at: At | None = None,
        timeout_s: float | None = None,
        failed: int = 0,
        nest: Nest = NOBODY,
    ) -> tuple[Reply, float]:
        """What came of a task, which may be a failure of user code.

        Raises:
            DefinitionError: When the experiment cannot be run as it is defined.
            StageDied: When its process died by nobody's fault.
        """
        task = task.model_copy(update={"traceparent": traceparent()})
        first = None
        if isinstance(task, StageTask) and timeout_s is not None:  # importing is not the stage's time
            first = LoadTask(log=task.log, spec=task.order.spec)
        try:
            reply, seconds = await self._processes.carried_out(task, timeout_s, first, nest)
        except StageDied as death:
            if death.kind is None:
                raise
            if at is None:
                raise DefinitionError([f"importing it ends the process: {death}"], name) from None
            failure = StageFailure(stage=str(at), kind=death.kind, message=str(death), attempts=failed + 1)
            return Reply(failure=failure, code=death.code), 0.0
        if reply.trouble:
            raise StageTrouble(reply.trouble)
        if reply.mistakes:
            raise DefinitionError(reply.mistakes, f"the experiment {name}")
        return reply, seconds

    def _check_budget(self, input: PlanInput, before: SharedBudget) -> None:
        """Clients do it, too, but not that of Temporal."""
        if input.budget.is_limited and input.budget != before:
            check_goes_on(input.budget, before, Spending(self._store).by(input.name), input.name)

    def _log(self, name: str, path: str) -> Path:
        return self._store.experiment_folder(name) / LOGS / f"{path}.txt"


def _found(outcomes: Outcomes, at: At) -> StageResult | None:
    """What is recorded of a stage that has ended."""
    found = outcomes.of(at)
    if not isinstance(found, StageEnded):
        return None
    return StageResult(value=found.value, outcome=found.outcome, seconds=found.seconds)


def _beginning(input: PlanInput, reply: Reply, before: Began | None) -> Began:
    assert reply.plan is not None
    is_given = input.input is not None or input.given is not None
    return Began(
        recorded=time(),
        run=input.run,
        experiment=input.spec.experiment,
        fields=input.spec.fields,
        input=reply.value if is_given or before is None else before.input,
        fingerprint=reply.plan.fingerprint,
        structure=reply.structure,
        seed=input.seed,
        owner=input.owner,
        defaults=input.spec.defaults,
        budget=input.budget,
    )


def _forgetting(input: PlanInput, plan: Plan, began: Began, outcomes: Outcomes) -> Began:
    """A beginning that forgets a stage, and all behind it."""
    at = restart(input.name, plan, outcomes, input.from_stage)
    return began.model_copy(update={"forgotten": behind(plan, at)})


def _check_same(input: PlanInput, before: Began | None, now: Began) -> None:
    """Raises when an experiment is to go on that need not, or as another one than it was."""
    if before is None:
        return
    if not input.resume:
        raise NameInUse(input.name, "experiment")
    if changes := changes_since(before, now):
        raise DefinitionChanged(input.name, changes, "experiment")
