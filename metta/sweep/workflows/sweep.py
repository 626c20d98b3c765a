"""The workflow of a sweep in the session lane: one long activity hosts the search."""

from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import RUN_SEARCH_SESSION
    from metta.sweep.contracts.budgets import Control, budget_from
    from metta.sweep.contracts.errors import DefinitionError
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
    from metta.sweep.workflows.policies import SESSION_HEARTBEAT, SESSION_RETRY, SESSION_TIMEOUT

STATUS = SearchAttributeKey.for_keyword("SweepStatus")
BEST = SearchAttributeKey.for_float("SweepBest")
TRIALS = SearchAttributeKey.for_int("SweepTrials")
METRIC = SearchAttributeKey.for_keyword("SweepMetric")


@workflow.defn(name="Sweep")
class Sweep:
    """Searches a space until its budget is used up.

    The search itself runs in an activity that keeps all trials in the sweep's ledger; history carries
    only what people say and how far it is.
    """

    @workflow.init
    def __init__(self, input: SweepInput) -> None:
        self._input = input
        run = workflow.info().run_id
        self._control = input.control or Control(budget=input.budget)
        self._control = self._control.model_copy(update={"run": run, "version": 0, "handover": False})
        self._progress = Progress()
        self._state: SweepState = "running"
        self._reason = ""
        self._notice = ""
        self._shown: dict[str, object] = {}

    @workflow.run
    async def run(self, input: SweepInput) -> SweepResult:
        """Open sessions until one has applied the newest control."""
        self._show()
        while True:
            result = await self._session()
            # a handler that has changed the budget while the session ended is to be seen below
            await workflow.wait_condition(workflow.all_handlers_finished)
            if result.reason == "handover":
                workflow.continue_as_new(self._continued())
            if result.control.version == self._control.version:
                return self._end(result)

    @workflow.update
    def set_budget(self, budget: JsonValue) -> Control:
        """Change the limits that are given; the others stay. A number is a number of trials."""
        self._change(budget=self._control.budget.changed(budget_from(budget)))
        return self._control

    @set_budget.validator
    def _check_budget(self, budget: JsonValue) -> None:
        budget_from(budget)  # what it raises is told to the caller, and nothing gets into history

    @workflow.signal(name="set_budget")
    def set_budget_by_signal(self, budget: JsonValue) -> None:
        """The same for clients that cannot send updates."""
        try:
            self._change(budget=self._control.budget.changed(budget_from(budget)))
        except DefinitionError as error:  # nobody waits for an answer: show it
            self._notice = f"the signal set_budget was refused: {error}"
            self._show()

    @workflow.update
    def stop(self) -> Control:
        """Stop the running trials, and end."""
        self._change(stop=True)
        return self._control

    @workflow.signal
    def progress(self, progress: Progress) -> None:
        """The session tells how far it is."""
        # to keep history small it leaves out the best trials when they are those of the last signal
        best = progress.best if progress.best is not None else self._progress.best
        self._progress = progress.model_copy(update={"best": best})
        self._show()

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

    async def _session(self) -> SessionResult:
        try:
            result: SessionResult = await workflow.execute_activity(
                RUN_SEARCH_SESSION.name,
                SessionInput(
                    sweep_id=workflow.info().workflow_id,
                    spec=self._input.spec,
                    control=self._control,
                    resume=self._input.resume,
                ),
                result_type=RUN_SEARCH_SESSION.result,
                start_to_close_timeout=SESSION_TIMEOUT,
                heartbeat_timeout=SESSION_HEARTBEAT,
                retry_policy=SESSION_RETRY,
                # a cancelled sweep ends when its trials have been stopped and recorded as such
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=f"search for the best {self._input.metric or 'trial'}",
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):  # a mistake of the user: tell it without wrapping
                self._fail(str(error.cause.type))
                raise error.cause from None
            raise
        return result

    def _continued(self) -> SweepInput:
        return self._input.model_copy(update={"control": self._control, "resume": True})

    def _change(self, **changes: object) -> None:
        self._control = self._control.model_copy(update={**changes, "version": self._control.version + 1})
        if self._control.stop:
            self._state = "stopping"
        self._show()

    def _end(self, result: SessionResult) -> SweepResult:
        self._progress, self._reason = result.progress, result.reason
        if result.reason == "failed":
            self._fail("failed")
            raise ApplicationError(result.message, type="SweepFailed", non_retryable=True)
        self._state = "finished"
        self._show()
        return SweepResult(
            sweep_id=workflow.info().workflow_id,
            reason=result.reason,
            ledger=result.ledger,
            progress=result.progress,
        )

    def _fail(self, reason: str) -> None:
        self._state, self._reason = "failed", reason
        self._show()

    def _show(self) -> None:
        """What the Temporal UI shows, and what lists of workflows can be filtered by."""
        workflow.set_current_details(details(self.status()))
        best = self._progress.best
        attributes: list[SearchAttributeUpdate[Any]] = [
            STATUS.value_set(self._state),
            TRIALS.value_set(self._progress.counts.started),
            *([METRIC.value_set(self._progress.metric)] if self._progress.metric else []),
            *([BEST.value_set(best[0].value)] if best else []),
        ]
        # each upsert is an event in history: tell only what changed
        if changed := [a for a in attributes if self._shown.get(a.key.name) != a.value]:
            self._shown |= {a.key.name: a.value for a in changed}
            workflow.upsert_search_attributes(changed)
