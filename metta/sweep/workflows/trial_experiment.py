"""A trial that is an experiment: a child workflow, and what its end is to the trial."""

import asyncio
from contextlib import suppress
from typing import Literal, TypeAlias

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from metta.sweep.contracts.activities import END_EXPERIMENT, MEASURE_TRIAL, WATCH_SWEEP
    from metta.sweep.contracts.advances import (
        ExperimentEnd,
        Measuring,
        SweepWatch,
        TrialNews,
        TrialOrder,
    )
    from metta.sweep.contracts.errors import LedgerCorrupt, StageFailed
    from metta.sweep.contracts.events import Failed, Stopped
    from metta.sweep.contracts.experiments import ExperimentInput, ExperimentResult, ExperimentSpec
    from metta.sweep.contracts.failures import MESSAGE_CHARS, Failure, FailureKind
    from metta.sweep.contracts.plans import StageFailure
    from metta.sweep.workflows.executed import executed
    from metta.sweep.workflows.policies import LOOK, RETRY

Why: TypeAlias = Literal["stop", "timeout"]

CLIENT = "metta.sweep"
"""Stamp of the child's input, which was checked when the sweep was defined."""

KINDS: dict[str, FailureKind] = {"oom": "oom", "timeout": "timeout", "infeasible": "infeasible"}
"""Failures of stages that are those of their trial; any other one is the user's."""


CANCELLED = "somebody has cancelled its experiment"


class TrialExperiment:
    """The experiment of one attempt.

    All attempts of a trial go on with one experiment: what is recorded of it is never done again.

    Args:
        order: The attempt.
        spec: The experiment, without the trial's parameters.
    """

    def __init__(self, order: TrialOrder, spec: ExperimentSpec) -> None:
        attempt = order.attempt
        self._order = order
        self._name = attempt.key.experiment_id(order.sweep_id)
        self._input = ExperimentInput(
            experiment=spec.experiment,
            fields=spec.fields | attempt.params,
            defaults=spec.defaults,
            lineage=spec.lineage,
            seed=attempt.seed,
            resume=True,
            client=CLIENT,
            owner=order.ledger_id,
        )
        self._began = workflow.time()

    async def news(self) -> TrialNews:
        """Let it run to its end; when this is cancelled, it is first brought to its end.

        Raises:
            ActivityError: When nobody could say what became of it.
            asyncio.CancelledError: When this is cancelled before it has begun.
        """
        if self._order.is_unwanted:
            await self._end_elsewhere()
            return self._stopped()
        child = asyncio.create_task(self._result())
        why = await self._ending(child)
        try:
            result = await (_cut_off(child) if why else child)
        except ChildWorkflowError as error:
            return self._ended_by(error, why)
        except (ActivityError, asyncio.CancelledError):  # it has not begun
            if why != "timeout":
                raise
            return self._overdue()
        if result.reason == "stopped":
            return self._failed("cancelled", "somebody has stopped its experiment")
        key = self._order.attempt.key
        measuring = Measuring(
            attempt=key, value=result.value, metric=self._order.metric, seconds=self._seconds
        )
        return await executed(MEASURE_TRIAL, measuring, "look for the metrics in the result")

    async def _ending(self, child: "asyncio.Task[ExperimentResult]") -> Why | None:
        """Wait for its end; why it is to end before, or None."""
        watch = asyncio.create_task(self._sweep_is_over())
        try:
            done, _ = await workflow.wait(
                [child, watch], timeout=self._order.timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            return "stop"
        finally:
            watch.cancel()
        if child in done:
            return None
        return "stop" if watch in done else "timeout"

    async def _result(self) -> ExperimentResult:
        """What the child workflow gives."""
        while True:
            try:
                result: ExperimentResult = await workflow.execute_child_workflow(
                    "Experiment",
                    self._input,
                    id=self._name,
                    result_type=ExperimentResult,
                    static_summary=self._order.summary,
                    # it ends with its trial, which others may take up again
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                    cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                )
                return result
            except WorkflowAlreadyStartedError:  # that of an attempt whose workflow was ended by force
                await self._end_elsewhere()

    async def _end_elsewhere(self) -> None:
        await executed(END_EXPERIMENT, ExperimentEnd(name=self._name), "wait for the end of what runs")

    async def _sweep_is_over(self) -> None:
        """Wait until the sweep is closed: nobody wants to hear of its trials then."""
        with suppress(ActivityError):  # it is cancelled when the experiment has ended
            await workflow.execute_activity(
                WATCH_SWEEP.name,
                SweepWatch(sweep_id=self._order.sweep_id),
                result_type=WATCH_SWEEP.result,
                start_to_close_timeout=LOOK,
                retry_policy=RETRY,
                summary="look each minute whether the sweep is over",
            )

    def _ended_by(self, error: ChildWorkflowError, why: Why | None) -> TrialNews:
        cause = error.cause
        if isinstance(cause, CancelledError):
            if why == "timeout":
                return self._overdue()
            return self._stopped() if why else self._failed("cancelled", CANCELLED)
        if not isinstance(cause, ApplicationError):  # somebody has terminated it: it goes on where it was
            return self._failed("infra", f"its experiment has ended by force: {cause or error}")
        if cause.type == StageFailed.__name__ and cause.details:
            failure = StageFailure.model_validate(cause.details[0])
            return self._failed(KINDS.get(failure.kind, "user"), str(StageFailed(failure)))
        return self._failed("infra" if cause.type == LedgerCorrupt.__name__ else "user", cause.message)

    @property
    def _seconds(self) -> float:
        return workflow.time() - self._began

    def _stopped(self) -> TrialNews:
        key = self._order.attempt.key._asdict()
        return TrialNews(**key, end=Stopped(at=workflow.time(), seconds=self._seconds, **key))

    def _overdue(self) -> TrialNews:
        return self._failed("timeout", f"it took longer than {self._order.timeout_s:g} s")

    def _failed(self, kind: FailureKind, message: str) -> TrialNews:
        key = self._order.attempt.key._asdict()
        failure = Failure(kind=kind, message=message[:MESSAGE_CHARS])
        return TrialNews(**key, end=Failed(at=workflow.time(), seconds=self._seconds, failure=failure, **key))


async def _cut_off(child: "asyncio.Task[ExperimentResult]") -> ExperimentResult:
    """Cancel a child, once, and wait for its end."""
    child.cancel()
    with suppress(asyncio.CancelledError):  # it is being ended already
        await workflow.wait([child])
    await workflow.wait([child])
    return child.result()
