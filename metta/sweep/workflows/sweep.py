"""The workflow of a sweep: one long activity hosts the search, or each trial is a job with a workflow."""

import asyncio
from typing import Any

from pydantic import JsonValue, ValidationError
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import RUN_SEARCH_SESSION
    from metta.sweep.contracts.advances import LaneState, TrialNews
    from metta.sweep.contracts.budgets import Budget, Control, budget_from, concurrency_from, pause_from
    from metta.sweep.contracts.errors import DefinitionError, SweepEnded, SweepError
    from metta.sweep.contracts.experiments import Steering
    from metta.sweep.contracts.raised import details_of
    from metta.sweep.contracts.sweeps import (
        Progress,
        Row,
        SessionInput,
        SessionResult,
        SweepInput,
        SweepResult,
        SweepState,
        SweepStatus,
    )
    from metta.sweep.workflows.details import details
    from metta.sweep.workflows.inputs import input_from, only, signalled
    from metta.sweep.workflows.job_lane import JobLane
    from metta.sweep.workflows.policies import HEARTBEAT, LONGEST, RETRY

STATUS = SearchAttributeKey.for_keyword("SweepStatus")
BEST = SearchAttributeKey.for_float("SweepBest")
TRIALS = SearchAttributeKey.for_int("SweepTrials")
METRIC = SearchAttributeKey.for_keyword("SweepMetric")

SHOW_S = 5.0
"""Where trials are jobs, lists of sweeps show no more often how far it is: each time is an event."""


@workflow.defn(name="Sweep")
class Sweep:
    """Searches a space until its budget is used up.

    The search itself runs in an activity that keeps all trials in the sweep's ledger; history carries
    only what people say and how far it is.

    What people send is taken as plain JSON, however many values, and read here: what the engine cannot hand
    over to a handler would block the workflow for ever, or be dropped without a word. Their mistakes end
    the workflow as ``ApplicationError``; other errors of workflow code are ours, and wait for a worker that
    is mended.
    """

    @workflow.init
    def __init__(self, *input: JsonValue) -> None:
        # a reset changes it: versions that are counted anew must not look like known ones
        self._control = Control(run=workflow.info().run_id)
        self._input: SweepInput
        self._progress = Progress()
        self._lane: JobLane | None = None
        self._shown_at = 0.0
        self._wrong: DefinitionError | None = None
        try:
            self._take(input_from(SweepInput, input))
        except DefinitionError as error:  # raised by ``run``: the engine would leak a coroutine here
            self._wrong = error
        self._state: SweepState = self._control.state
        self._reason = ""
        self._notice = ""
        self._shown: dict[str, object] = {}

    @workflow.run
    async def run(self, *input: JsonValue) -> SweepResult:
        """Open sessions until one has applied the newest control."""
        if self._wrong:
            kind = type(self._wrong).__name__
            self._over("failed", kind)
            details = details_of(self._wrong)
            raise ApplicationError(str(self._wrong), *details, type=kind, non_retryable=True)
        self._show()
        try:
            return await self._search()
        except (ActivityError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._over("cancelled")
            elif isinstance(error, ActivityError) and isinstance(error.cause, ApplicationError):
                self._over("failed", str(error.cause.type))
                raise error.cause from None  # a mistake of the user: tell it without wrapping
            raise

    @workflow.update
    def set_budget(self, *budget: JsonValue) -> Control:
        """Change the limits that are given; the others stay. A number is a number of trials."""
        self._change(budget=self._control.budget.changed(self._budget_from(budget)))
        return self._control

    @set_budget.validator
    def _check_budget(self, *budget: JsonValue) -> None:
        self._budget_from(budget)  # what it raises is told to the caller, and nothing gets into history

    @workflow.signal(name="set_budget")
    def set_budget_by_signal(self, *budget: JsonValue) -> None:
        """The same for clients that cannot send updates."""
        try:
            self._change(budget=self._control.budget.changed(self._budget_from(budget)))
        except SweepError as error:  # nobody waits for an answer: show it
            self._notice = f"the signal set_budget was refused: {error}"
            self._show()

    @workflow.update
    def set_concurrency(self, *concurrency: JsonValue) -> Control:
        """Change how many trials may run at the same time; null leaves it to scheduler and executor."""
        self._change(concurrency=concurrency_from(only(concurrency, "the concurrency")))
        return self._control

    @set_concurrency.validator
    def _check_concurrency(self, *concurrency: JsonValue) -> None:
        self._refuse_when_stopping()
        concurrency_from(only(concurrency, "the concurrency"))

    @workflow.update
    def pause(self, *how: JsonValue) -> Control:
        """Start nothing new; ``"now"`` also interrupts running trials, which go on from their checkpoints."""
        self._change(pause=pause_from(how[0] if how else None))
        return self._control

    @pause.validator
    def _check_pause(self, *how: JsonValue) -> None:
        self._refuse_when_stopping()
        pause_from(only(how, "the pause") if how else None)

    @workflow.update
    def resume(self, *_: JsonValue) -> Control:
        """Go on after a pause."""
        self._change(pause=None)
        return self._control

    @workflow.update
    def stop(self, *_: JsonValue) -> Control:
        """Stop the running trials, and end."""
        self._change(stop=True)
        return self._control

    @workflow.signal
    def progress(self, *progress: JsonValue) -> None:
        """The session tells how far it is."""
        try:
            news = Progress.model_validate(only(progress, "the signal progress"))
        except (SweepError, ValidationError) as error:
            workflow.logger.warning("somebody sends progress that is none: %s", error)
            return
        # to keep history small it leaves out the best trials when they are those of the last signal
        best = news.best if news.best is not None else self._progress.best
        self._progress = news.model_copy(update={"best": best})
        self._show()

    @workflow.signal
    def steer(self, *given: JsonValue) -> None:
        """What the experiment wants of it within which it runs."""
        if (steering := signalled(Steering, given, "the signal steer")) is None:
            return
        changes: dict[str, object] = {}
        if steering.pause is not None:
            changes["pause"] = "soon" if steering.pause else None
        if steering.stop:
            changes["stop"] = True
        if steering.budget:
            limits = steering.budget.model_dump(exclude={"target"})  # which stays its own
            changes["budget"] = self._control.budget.model_copy(update=limits)
            self._input = self._input.model_copy(update={"granted": True})
        self._change(**changes)

    @workflow.query
    def status(self) -> SweepStatus:
        """Where the sweep stands."""
        return SweepStatus(
            state=self._state,
            progress=self._progress,
            control=self._control,
            reason=self._reason,
            notice=self._notice,
        )

    @workflow.query
    def leaderboard(self) -> list[Row]:
        """The best trials, best first."""
        return list(self._progress.best or ())

    @workflow.query
    def control(self) -> Control:
        """What people want of the sweep; the session asks once a second."""
        handover = workflow.info().is_continue_as_new_suggested()
        return self._control.model_copy(update={"handover": handover})

    def _take(self, input: SweepInput) -> None:
        self._input = input
        control = input.control or Control(budget=input.budget)
        self._control = control.model_copy(update={"run": self._control.run})
        self._progress = input.progress
        if input.spec.lane == "job":
            state = LaneState.model_validate(input.lane_state or {})
            self._lane = JobLane(input.spec, input.resume, state, lambda: self._control, self._advanced)

    @workflow.signal
    def trial_news(self, *news: JsonValue) -> None:
        """A trial that is a job tells what became of it."""
        told = signalled(TrialNews, news, "the signal trial_news")
        if told and self._lane:
            self._lane.tell(told)

    async def _search(self) -> SweepResult:
        return await (self._search_by_jobs(self._lane) if self._lane else self._search_in_sessions())

    async def _search_by_jobs(self, lane: JobLane) -> SweepResult:
        searching = asyncio.create_task(lane.run())
        try:
            await workflow.wait([searching])
        except asyncio.CancelledError:  # it ends when its trials have been stopped and recorded as such
            self._change(stop=True)
            await workflow.wait([searching])
            raise
        advance = searching.result()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if advance is None or advance.finish is None:
            workflow.continue_as_new(self._continued())
        return self._ended(
            SessionResult(
                progress=advance.progress,
                reason=advance.finish.reason,
                message=advance.finish.message,
                control=advance.control,
                ledger=advance.ledger,
            )
        )

    def _advanced(self, progress: Progress) -> None:
        self._progress = progress
        if workflow.time() >= self._shown_at + SHOW_S:
            self._show()

    async def _search_in_sessions(self) -> SweepResult:
        while True:
            result = await self._session()
            self._progress = result.progress
            # a handler that has changed the budget while the session ended is to be seen below
            await workflow.wait_condition(workflow.all_handlers_finished)
            if workflow.cancellation_reason() is not None:
                raise asyncio.CancelledError
            if result.reason == "handover":
                workflow.continue_as_new(self._continued())
            if self._is_newest(result.control):
                return self._ended(result)

    def _is_newest(self, control: Control) -> bool:
        """Whether a session has applied the newest control."""
        # not by its run: a history that is replayed after a reset was written by another run
        mine = self._control
        return control.model_copy(update={"run": mine.run, "handover": mine.handover}) == mine

    async def _session(self) -> SessionResult:
        info = workflow.info()
        result: SessionResult = await workflow.execute_activity(
            RUN_SEARCH_SESSION.name,
            SessionInput(
                sweep_id=info.workflow_id,
                spec=self._input.spec,
                control=self._control,
                # a run that continues another one, or was reset, goes on with what that has recorded
                resume=self._input.resume or info.run_id != info.first_execution_run_id,
            ),
            result_type=RUN_SEARCH_SESSION.result,
            start_to_close_timeout=LONGEST,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RETRY,
            # a cancelled sweep ends when its trials have been stopped and recorded as such
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"search for the best {self._input.metric or 'trial'}",
        )
        return result

    def _continued(self) -> SweepInput:
        lane_state = self._lane.state.model_dump(mode="json") if self._lane else None
        kept = {"control": self._control, "progress": self._progress, "lane_state": lane_state}
        return self._input.model_copy(update=kept)

    def _budget_from(self, given: tuple[JsonValue, ...]) -> Budget:
        budget = budget_from(only(given, "the budget"))
        self._refuse_when_stopping()
        if self._input.granted:
            problem = "its budget is a share of that of the experiment that it runs within; change that one"
            raise DefinitionError([problem], workflow.info().workflow_id)
        return budget

    def _refuse_when_stopping(self) -> None:
        if self._control.stop:
            raise SweepEnded("the sweep is being stopped; run it again with resume=True (`--resume`)")

    def _change(self, **changes: object) -> None:
        self._control = self._control.model_copy(update={**changes, "version": self._control.version + 1})
        self._notice = ""
        self._state = self._control.state
        self._show()

    def _ended(self, result: SessionResult) -> SweepResult:
        if result.reason == "failed":
            self._over("failed", result.reason)
            raise ApplicationError(result.message, type="SweepFailed", non_retryable=True)
        self._over("finished", result.reason)
        return SweepResult(
            sweep_id=workflow.info().workflow_id,
            reason=result.reason,
            ledger=result.ledger,
            progress=result.progress,
        )

    def _over(self, state: SweepState, reason: str = "") -> None:
        self._state, self._reason = state, reason
        self._show()

    def _show(self) -> None:
        """What the Temporal UI shows, and what lists of workflows can be filtered by."""
        self._shown_at = workflow.time()
        workflow.set_current_details(details(self.status()))
        best = self._progress.best
        attributes: dict[SearchAttributeKey[Any], object] = {
            STATUS: self._state,
            TRIALS: self._progress.counts.started,
            METRIC: self._progress.metric,
            BEST: best[0].value if best else None,
        }
        # each upsert is an event in history: tell only what changed
        changed = {key: value for key, value in attributes.items() if self._shown.get(key.name) != value}
        if changed:
            self._shown |= {key.name: value for key, value in changed.items()}
            workflow.upsert_search_attributes(
                [
                    key.value_unset() if value is None else key.value_set(value)
                    for key, value in changed.items()
                ]
            )
