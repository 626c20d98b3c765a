"""The job lane: trials as workflows of their own, and the search as an activity that is called with news."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import ADVANCE_SEARCH, MISSING_TRIALS, ActivityReference
    from metta.sweep.contracts.advances import (
        Advance,
        AdvanceOrder,
        LaneState,
        TrialNews,
        TrialOrder,
        Trials,
    )
    from metta.sweep.contracts.attempts import Attempt, AttemptKey
    from metta.sweep.contracts.budgets import Control
    from metta.sweep.contracts.events import Stopped
    from metta.sweep.contracts.jobs import trials_queue
    from metta.sweep.contracts.sweeps import Progress, SweepSpec
    from metta.sweep.workflows.policies import HEARTBEAT, LOOKING, LOST, RETRY

InputT = TypeVar("InputT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


class JobLane:
    """Carries out a search whose trials are jobs.

    Args:
        spec: What the sweep is.
        resume: Whether it may exist already.
        state: Where the run before has left off.
        control: Tells what people want now.
        show: Called with how far it is.
    """

    def __init__(
        self,
        spec: SweepSpec,
        resume: bool,
        state: LaneState,
        control: Callable[[], Control],
        show: Callable[[Progress], None],
    ) -> None:
        info = workflow.info()
        self._sweep_id, self._chain = info.workflow_id, info.first_execution_run_id
        self._spec, self._resume, self._control, self._show = spec, resume, control, show
        self._epoch, self._cursor, self._slots = state.epoch, state.cursor, state.slots
        self._applied, self._settled, self._tick_at = state.applied, state.settled, state.tick_at
        self._running = dict.fromkeys(state.running)
        self._due = list(state.due)
        self._news = list(state.news)
        self._inherited = set(state.running)  # of these no end is heard but what they tell
        self._lost: list[AttemptKey] = []
        self._look_at = workflow.time() + LOOKING.total_seconds()

    def tell(self, news: TrialNews) -> None:
        """A trial tells what became of it."""
        self._news.append(news)

    async def run(self) -> Advance | None:
        """Search to the end.

        Returns:
            How it ended; None when history is full, and another run is to go on.
        """
        if not self._epoch:
            await self._advance()
        while True:
            if workflow.info().is_continue_as_new_suggested() and not self._lost:
                return None
            await self._begin_due()
            if not self._has_news():
                await self._wait()
            await self._look_for_missing()
            if self._has_news() and (end := await self._advance()):
                return end

    @property
    def state(self) -> LaneState:
        """Where another run is to go on."""
        return LaneState(
            epoch=self._epoch,
            cursor=self._cursor,
            applied=self._applied,
            slots=self._slots,
            running=tuple(self._running),
            due=tuple(self._due),
            news=tuple(self._news),
            settled=self._settled,
            tick_at=self._tick_at,
        )

    # --- waiting ---

    def _has_news(self) -> bool:
        is_tick = self._tick_at is not None and workflow.time() >= self._tick_at
        wants_more = self._free() > 0 and not self._settled
        return bool(self._news or self._lost) or is_tick or wants_more or self._is_changed()

    def _is_changed(self) -> bool:
        """Whether people want something that the search does not know."""
        mine, applied = self._control(), self._applied
        return (mine.run, mine.version) != (applied.run, applied.version)

    def _free(self) -> int:
        control = self._control()
        slots = self._slots if control.concurrency is None else min(self._slots, control.concurrency)
        return max(0, slots - len(self._running) - len(self._due))

    async def _wait(self) -> None:
        due_s = [due.at for due in self._due if not self._control().pause]
        due_s += [] if self._tick_at is None else [self._tick_at]
        due_s += [self._look_at] if self._inherited else []
        patience = None
        if due_s:
            patience = timedelta(seconds=max(0.001, min(due_s) - workflow.time()))
        full = workflow.info().is_continue_as_new_suggested
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._has_news() or full(), timeout=patience)

    # --- trials ---

    async def _begin_due(self) -> None:
        if self._control().pause:
            return
        now = workflow.time()
        ready = [due.attempt for due in self._due if due.at <= now]
        self._due = [due for due in self._due if due.at > now]
        await asyncio.gather(*map(self._begin, ready))

    async def _begin(self, attempt: Attempt) -> None:
        self._running[attempt.key] = None
        order = TrialOrder(
            sweep_id=self._sweep_id,
            objective=self._spec.objective,
            executor=self._spec.executor,
            attempt=attempt,
            timeout_s=self._spec.timeout,
            queue=self._queue(),
        )
        try:
            handle = await workflow.start_child_workflow(
                "Trial",
                order,
                id=attempt.key.workflow_id(self._sweep_id),
                # it goes on while this workflow continues as new, or is resumed
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                static_summary=f"trial {attempt.trial}",
            )
        except WorkflowAlreadyStartedError:  # it goes on since an earlier run
            self._inherited.add(attempt.key)
        else:
            handle.add_done_callback(lambda task: self._closed(attempt.key, task))

    def _queue(self) -> str | None:
        """The task queue of those who run Python objectives."""
        if not isinstance(self._spec.objective, str):
            return None
        queue = self._spec.executor.options.get("queue")
        return str(queue) if queue else trials_queue(workflow.info().task_queue)

    def _closed(self, key: AttemptKey, task: "asyncio.Task[Any]") -> None:
        """A trial's workflow is over; when it has not told anything, somebody ended it by force."""
        if not task.cancelled():
            task.exception()  # which it has told before
        if key in self._running and all(news.key != key or news.end is None for news in self._news):
            self._lost.append(key)

    async def _look_for_missing(self) -> None:
        if not self._inherited or workflow.time() < self._look_at:
            return
        self._look_at = workflow.time() + LOOKING.total_seconds()
        asked = Trials(sweep_id=self._sweep_id, keys=tuple(sorted(self._inherited)))
        missing = await self._called(MISSING_TRIALS, asked, "look for trials that have died")
        told = {news.key for news in self._news if news.end}
        self._lost += [AttemptKey(*key) for key in missing.keys if key not in told]

    async def _stop(self, key: AttemptKey) -> None:
        if key in self._running:
            handle = workflow.get_external_workflow_handle(key.workflow_id(self._sweep_id))
            with suppress(FailureError):  # it has just ended
                await handle.signal("stop")
            return
        waiting = [due.attempt.key for due in self._due]
        self._due = [due for due in self._due if due.attempt.key != key]
        if key in waiting:
            end = Stopped(at=workflow.time(), **key._asdict())
            self._news.append(TrialNews(**key._asdict(), end=end))

    # --- the search ---

    async def _advance(self) -> Advance | None:
        """Tell the search what happened, and carry out what it wants."""
        news, self._news = self._news, []
        lost, self._lost = self._lost, []
        for key in (*(told.key for told in news if told.end), *lost):
            self._running.pop(key, None)
            self._inherited.discard(key)
        order = AdvanceOrder(
            sweep_id=self._sweep_id,
            spec=self._spec,
            control=self._control(),
            chain=self._chain,
            resume=self._resume,
            epoch=self._epoch,
            cursor=self._cursor,
            news=tuple(news),
            free=self._free(),
            tick=self._tick_at is not None and workflow.time() >= self._tick_at,
            again=tuple(lost),
        )
        advance = await self._called(ADVANCE_SEARCH, order, _summary(order))
        return await self._carry_out(advance)

    async def _carry_out(self, advance: Advance) -> Advance | None:
        # who opens a sweep has not asked yet what free slots are for
        self._settled = bool(self._epoch) and not advance.starts and not advance.stops
        self._epoch, self._cursor, self._slots = advance.epoch, advance.cursor, advance.slots
        self._applied = advance.control
        now = workflow.time()
        self._tick_at = None if advance.tick_s is None else now + advance.tick_s
        known = {*self._running, *(due.attempt.key for due in self._due)}
        for due in advance.starts:
            if due.attempt.key not in known:
                self._due.append(due.model_copy(update={"at": now + due.delay_s if due.delay_s else 0.0}))
        await asyncio.gather(*(self._stop(AttemptKey(*key)) for key in advance.stops))
        self._show(advance.progress)
        is_over = advance.finish is not None and not self._is_changed()
        return advance if is_over else None

    async def _called(
        self, reference: ActivityReference[InputT, ResultT], order: InputT, summary: str
    ) -> ResultT:
        result: ResultT = await workflow.execute_activity(
            reference.name,
            order,
            result_type=reference.result,
            start_to_close_timeout=LOST,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            summary=summary,
        )
        return result


def _summary(order: AdvanceOrder) -> str:
    ended = sum(news.end is not None for news in order.news)
    return f"{ended} ended, {order.free} free" if order.epoch else "open the ledger"
