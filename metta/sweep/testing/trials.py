"""Attempts as sweeps run them: each as a workflow ``Trial``, on a real server, attended by real workers."""

from contextlib import suppress
from typing import Any
from uuid import uuid4

from pydantic import JsonValue
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.contracts.advances import TrialNews, TrialOrder
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.components import Component, ComponentSpec, create
from metta.sweep.contracts.events import AttemptEnded, Failed
from metta.sweep.contracts.failures import Failure, FailureKind
from metta.sweep.contracts.jobs import PYTHON, Job, trials_queue
from metta.sweep.executors.base import Executor, JobExecutor
from metta.sweep.testing import behaviours
from metta.sweep.testing.attempts import AttemptRunner


class TrialWorkflows(AttemptRunner):
    """Runs attempts by any executor: those of jobs run programs, all others Python objectives.

    They have no sweep: an attempt that runs for more than a minute is stopped, as if its sweep were over.

    Args:
        client: A client with ``MettaSweepPlugin``.
        queue: Task queue whose workers attend trials.
        executor: Type and options of the executor.
        trials: Task queue of those who run Python objectives; None means the one that belongs to ``queue``.
    """

    def __init__(
        self, client: Client, queue: str, executor: dict[str, JsonValue], trials: str | None = None
    ) -> None:
        self._client, self._queue, self._trials = client, queue, trials or trials_queue(queue)
        self._executor: Component = ComponentSpec.model_validate(executor)
        self._runs_jobs = isinstance(create(Executor, self._executor), JobExecutor)
        self._name = f"conformance-{uuid4()}"
        self._stopped: set[str] = set()

    async def start(self, behaviour: str, attempt: Attempt, timeout_s: float | None = None) -> None:
        """Start its workflow."""
        id = self._id(attempt)
        order = TrialOrder(
            sweep_id=self._sweep(attempt),
            objective=self._objective(behaviour),
            executor=self._executor,
            attempt=attempt,
            timeout_s=timeout_s,
            epoch=1,
            queue=None if self._runs_jobs else self._trials,
        )
        with suppress(WorkflowAlreadyStartedError):
            await self._client.start_workflow(
                "Trial",
                order,
                id=id,
                task_queue=self._queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                start_signal="stop" if id in self._stopped else None,
            )

    async def stop(self, attempt: Attempt) -> None:
        """Signal its workflow, or see to it that it is signalled when it starts."""
        try:
            await self._handle(attempt).signal("stop")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            self._stopped.add(self._id(attempt))

    async def end(self, attempt: Attempt) -> AttemptEnded:
        """What its workflow has told."""
        try:
            news: TrialNews = await self._handle(attempt).result()
        except WorkflowFailureError as error:
            if not isinstance(error.cause, ApplicationError):
                raise
            return _failed(attempt, error.cause)
        assert news.end is not None, "a trial that is over has an end"
        return news.end

    def _sweep(self, attempt: Attempt) -> str:
        # each trial has its own, for a sweep has one objective
        return f"{self._name}-{attempt.trial}"

    def _id(self, attempt: Attempt) -> str:
        return attempt.key.workflow_id(self._sweep(attempt))

    def _handle(self, attempt: Attempt) -> WorkflowHandle[Any, TrialNews]:
        id = self._id(attempt)
        return self._client.get_workflow_handle(id, result_type=TrialNews)

    def _objective(self, behaviour: str) -> str | Job:
        if self._runs_jobs:
            return Job(command=[PYTHON, "-m", behaviours.__name__, behaviour])
        return f"{behaviours.__name__}:{behaviour}"


def _failed(attempt: Attempt, error: ApplicationError) -> Failed:
    """The end of a trial as its workflow tells it: message and evidence in one text."""
    kind: FailureKind = error.type  # type: ignore[assignment]
    message, _, evidence = error.message.partition("\n\n")
    failure = Failure(kind=kind, message=message, traceback=evidence)
    return Failed(at=0.0, failure=failure, **attempt.key._asdict())
