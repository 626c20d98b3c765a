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
    from metta.sweep.contracts.activities import (
        ADVANCE_SEARCH,
        END_LEFTOVERS,
        MISSING_TRIALS,
        ActivityReference,
    )
    from metta.sweep.contracts.advances import (
        LEDGER,
        Advance,
        AdvanceOrder,
        Due,
        LaneState,
        TrialNews,
        TrialOrder,
        Trials,
    )
    from metta.sweep.contracts.attempts import AttemptKey
    from metta.sweep.contracts.budgets import Control
    from metta.sweep.contracts.events import Stopped
    from metta.sweep.contracts.jobs import trials_queue
    from metta.sweep.contracts.sweeps import Progress, SweepSpec
    from metta.sweep.workflows.policies import CALL, FULL_EVENTS, HEARTBEAT, LOOKING, RETRY

InputT = TypeVar("InputT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


WIDTH = 500
"""So many trials run at the same time at the most; the server refuses more than 2,000 children."""

BATCH = 50
"""So many trials are begun and ended by one call of the search: a message of the engine has 4 MB."""

TICK_S = 0.05
"""Time is judged no sooner than after this, whatever clocks say."""


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
        self._ledger_id = state.ledger_id
        self._epoch, self._cursor, self._slots = state.epoch, state.cursor, state.slots
        self._applied, self._settled, self._tick_at = state.applied, state.settled, state.tick_at
        self._running = dict.fromkeys(state.running)
        self._due = list(state.due)
        self._news = list(state.news)
        self._more = state.more
        self._is_fresh = bool(state.epoch)  # another run may have been told what this one is not
        self._lost: list[AttemptKey] = []
        self._run = ""
        self._look_at = workflow.time() + LOOKING.total_seconds()

    def tell(self, news: TrialNews) -> None:
        """A trial tells what became of it; it may be one of another ledger of that name."""
        if self._is_own(news):
            self._news.append(news)

    async def run(self) -> Advance | None:
        """Search to the end.

        Returns:
            How it ended; None when history is full, and another run is to go on.
        """
        if not self._epoch:
            await self._advance()
        while True:
            if self._is_full():
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
            more=self._more,
            settled=self._settled,
            tick_at=self._tick_at,
            ledger_id=self._ledger_id,
        )

    def _is_full(self) -> bool:
        """Whether another run is to go on; not while the sweep is being stopped, which is seen here."""
        info = workflow.info()
        has_room = self._control().stop and info.get_current_history_length() < FULL_EVENTS
        return info.is_continue_as_new_suggested() and not has_room and not self._lost

    # --- waiting ---

    def _has_news(self) -> bool:
        is_tick = self._tick_at is not None and workflow.time() >= self._tick_at
        wants_more = self._free() > 0 and not self._settled
        is_told = bool(self._news or self._lost or self._more) or self._is_fresh
        return is_told or is_tick or wants_more or self._is_changed()

    def _is_changed(self) -> bool:
        """Whether people want something that the search does not know."""
        # not by the run: a history that is replayed after a reset was written by another one
        return self._control().version != self._applied.version

    def _free(self) -> int:
        slots, limit = min(self._slots, WIDTH), self._control().concurrency
        # as in a session, what is to be tried again later keeps a slot only where people count them
        due = [due for due in self._due if limit is not None or due.has_begun or not due.at]
        free = (slots if limit is None else min(slots, limit)) - len(self._running) - len(due)
        return max(0, min(free, BATCH))

    async def _wait(self) -> None:
        due_s = [due.at for due in self._due if not self._control().pause]
        due_s += [] if self._tick_at is None else [self._tick_at]
        due_s += [self._look_at] if self._running else []
        patience = None
        if due_s:
            patience = timedelta(seconds=max(0.001, min(due_s) - workflow.time()))
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._has_news() or self._is_full(), timeout=patience)

    # --- trials ---

    async def _begin_due(self) -> None:
        now, is_paused = workflow.time(), self._control().pause
        ready, later = list[Due](), list[Due]()
        for due in self._due:
            is_ready = due.at <= now and (due.is_unwanted or not is_paused)
            (ready if is_ready else later).append(due)
        self._due = later
        await asyncio.gather(*map(self._begin, ready))

    async def _begin(self, due: Due) -> None:
        attempt = due.attempt
        self._running[attempt.key] = None
        order = TrialOrder(
            sweep_id=self._sweep_id,
            objective=self._spec.objective,
            executor=self._spec.executor,
            attempt=attempt,
            timeout_s=self._spec.timeout,
            epoch=self._epoch,
            queue=self._queue(),
            is_unwanted=due.is_unwanted,
            has_begun=due.has_begun,
            ledger_id=self._ledger_id,
            metric=self._spec.metric,
        )
        is_begun = await self._start(order)
        while not is_begun and await self._leaves(attempt.key):
            is_begun = await self._start(order)
        if not is_begun and due.is_unwanted:
            await self._stop(attempt.key)

    async def _start(self, order: TrialOrder) -> bool:
        """Start the workflow of a trial; False when there is one that goes on since an earlier run."""
        attempt = order.attempt
        try:
            handle = await workflow.start_child_workflow(
                "Trial",
                order,
                id=attempt.key.workflow_id(self._sweep_id),
                # it goes on while this workflow continues as new, or is resumed
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                memo={LEDGER: order.ledger_id} if order.ledger_id else None,
                static_summary=f"trial {attempt.trial}",
            )
        except WorkflowAlreadyStartedError:
            return False
        handle.add_done_callback(lambda task: self._closed(attempt.key, task))
        return True

    async def _leaves(self, key: AttemptKey) -> bool:
        """Whether the workflow of that name was one of another ledger; then it is over now."""
        if not self._ledger_id:  # a history of a version that did not tell them apart
            return False
        asked = Trials(sweep_id=self._sweep_id, keys=(key,), ledger_id=self._ledger_id)
        ended = await self._called(END_LEFTOVERS, asked, "end what a deleted sweep has left")
        return bool(ended.keys)

    def _is_own(self, news: TrialNews) -> bool:
        return not (news.ledger_id and self._ledger_id) or news.ledger_id == self._ledger_id

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
        if not self._running or workflow.time() < self._look_at:
            return
        self._look_at = workflow.time() + LOOKING.total_seconds()
        asked = Trials(sweep_id=self._sweep_id, keys=tuple(sorted(self._running)))
        missing = await self._called(MISSING_TRIALS, asked, "look for trials that have died")
        told = {news.key for news in self._news if news.end}
        self._lost += [AttemptKey(*key) for key in missing.keys if key not in told]

    async def _stop(self, key: AttemptKey) -> None:
        if key in self._running:
            handle = workflow.get_external_workflow_handle(key.workflow_id(self._sweep_id))
            with suppress(FailureError):  # it has just ended
                await handle.signal("stop")
            return
        for due in [due for due in self._due if due.attempt.key == key]:
            self._due.remove(due)
            if due.has_begun:  # it is to be found, and stopped
                self._due.append(due.model_copy(update={"is_unwanted": True, "at": 0.0}))
            else:
                end = Stopped(at=workflow.time(), **key._asdict())
                self._news.append(TrialNews(**key._asdict(), end=end))

    # --- the search ---

    async def _advance(self) -> Advance | None:
        """Tell the search what happened, and carry out what it wants."""
        news, self._news = self._news[:BATCH], self._news[BATCH:]
        lost, self._lost = self._lost, []
        more, self._more = self._more, ()
        self._is_fresh = False
        for key in (*(told.key for told in news if told.end), *lost):
            self._running.pop(key, None)
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
            more=more,
        )
        advance = await self._called(ADVANCE_SEARCH, order, _summary(order))
        self._applied = order.control
        return await self._carry_out(advance)

    async def _carry_out(self, advance: Advance) -> Advance | None:
        self._settled, self._ledger_id = advance.settled, advance.ledger_id
        self._news = [news for news in self._news if self._is_own(news)]  # told before it was known
        self._epoch, self._cursor, self._slots = advance.epoch, advance.cursor, advance.slots
        now = workflow.time()
        if self._run not in ("", advance.control.run):  # history was reset: what it heard since is unknown
            self._look_at = now
        self._run = advance.control.run
        self._tick_at = None if advance.tick_s is None else now + max(TICK_S, advance.tick_s)
        self._more = tuple(AttemptKey(*key) for key in advance.more)
        known = {*self._running, *(due.attempt.key for due in self._due)}
        for due in advance.starts:
            if due.attempt.key not in known:
                known.add(due.attempt.key)
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
            start_to_close_timeout=CALL,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            summary=summary,
        )
        return result


def _summary(order: AdvanceOrder) -> str:
    ended = sum(news.end is not None for news in order.news)
    return f"{ended} ended, {order.free} free" if order.epoch else "open the ledger"
