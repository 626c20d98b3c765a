"""The activities of experiments: they attend what the host carries out."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio import activity
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from metta.sweep.activities.nested import NestedRuns
from metta.sweep.contracts.activities import (
    ASK_PREDICATE,
    FINISH_EXPERIMENT,
    MERGE_BRANCHES,
    PLAN_EXPERIMENT,
    PREPARE_CHILD,
    RECOVER_STAGE,
    RUN_STAGE,
)
from metta.sweep.contracts.errors import DefinitionError, LedgerCorrupt, StageFailed
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
from metta.sweep.contracts.plans import Plan, width_of
from metta.sweep.contracts.raised import details_of
from metta.sweep.contracts.values import Value
from metta.sweep.stages.host import StageHost, TryAgain
from metta.sweep.stages.processes import StageDied

T = TypeVar("T")

POLL_S = 1.0
"""How often an activity tells that it is alive."""

PAYLOAD_BYTES = 2 * 1024**2
"""The server refuses more in one value, unless it is configured otherwise."""

MESSAGE_BYTES = 3 * 1024**2
"""It refuses 4 MiB in one message, in which values and names are carried besides."""

AT_ONCE_S = 0.001
"""The server takes no wait of zero."""


class StageActivities:
    """The activities of experiments on one worker.

    Args:
        host: What carries them out.
    """

    def __init__(self, host: StageHost) -> None:
        self._host, self._nested = host, NestedRuns()

    @property
    def all(self) -> list[Any]:
        """Every one of them, for a worker."""
        return [
            self.plan_experiment,
            self.run_stage,
            self.recover_stage,
            self.ask_predicate,
            self.merge_branches,
            self.prepare_child,
            self.finish_experiment,
        ]

    @activity.defn(name=PLAN_EXPERIMENT.name)
    async def plan_experiment(self, input: PlanInput) -> Beginning:
        """Import an experiment, check it, and say where its run begins."""
        return await attended(self._host.plan(input, partial(_check_size, input)))

    @activity.defn(name=RUN_STAGE.name)
    async def run_stage(self, order: StageOrder) -> StageResult:
        """Make an attempt of a stage, or find what it has given before."""
        return await attended(self._host.run_stage(order, self._nested))

    @activity.defn(name=RECOVER_STAGE.name)
    async def recover_stage(self, order: RecoverOrder) -> StageResult:
        """Ask the ``on_error`` of a stage that has failed."""
        return await attended(self._host.recover(order))

    @activity.defn(name=ASK_PREDICATE.name)
    async def ask_predicate(self, order: Order) -> Answer:
        """Ask the predicate of a conditional or of a loop."""
        return await attended(self._host.ask(order))

    @activity.defn(name=MERGE_BRANCHES.name)
    async def merge_branches(self, order: MergeOrder) -> Value:
        """Merge the results of parallel branches."""
        return await attended(self._host.merge(order))

    @activity.defn(name=PREPARE_CHILD.name)
    async def prepare_child(self, order: Order) -> Child:
        """Ask what the workflow that does a stage's work is to be given."""
        return await attended(self._host.child(order))

    @activity.defn(name=FINISH_EXPERIMENT.name)
    async def finish_experiment(self, order: FinishOrder) -> FinishOrder:
        """Record how an experiment has ended."""
        await attended(self._host.finish(order))
        return order


async def _check_size(input: PlanInput, plan: Plan) -> None:
    """See to it that the server takes a plan, and what is sent to all branches that run side by side.

    Raises:
        DefinitionError: When it would not.
    """
    converter = activity.client().data_converter
    size = await _sent_bytes(converter, input, plan)  # both are carried on when history begins anew
    each, width = await _sent_bytes(converter, input.spec), width_of(plan)
    problems = []
    if size > PAYLOAD_BYTES:
        problems.append(
            f"its plan and its input would be sent as {size:,} bytes, and the Temporal server takes"
            f" {PAYLOAD_BYTES:,} at most: make parts of the pipeline experiments of their own, and its stages"
        )
    if width * each > MESSAGE_BYTES:
        problems.append(
            f"its fields would be sent to {width} branches at once, {width * each:,} bytes in all, and the"
            f" Temporal server takes {MESSAGE_BYTES:,} at most: put what is large into a file, and give its"
            " path"
        )
    if problems:
        raise DefinitionError(problems, f"the experiment {input.name}")


async def _sent_bytes(converter: DataConverter, *values: object) -> int:
    return sum(payload.ByteSize() for payload in await converter.encode(values))


async def attended(work: Coroutine[Any, Any, T]) -> T:
    """What work gives; meanwhile it is told that it goes on, and it ends when the worker does.

    Raises:
        ApplicationError: In the engine's words, when it failed.
    """
    task = asyncio.ensure_future(work)
    shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
    either: set[asyncio.Future[Any]] = {task, shutdown}
    try:
        # none at once: most stages of a long loop end before, and the server writes each heartbeat down
        while not (await asyncio.wait(either, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED))[0]:
            activity.heartbeat()
        if task.done():
            return task.result()
    except Exception as error:
        raise _told(error) from error
    finally:
        shutdown.cancel()
        task.cancel()
        await asyncio.wait({task})
    raise ApplicationError(
        "the worker ends; another one runs the stage again",
        type="WorkerEnded",
        category=ApplicationErrorCategory.BENIGN,
    )


def _told(error: Exception) -> ApplicationError:
    """An error for the workflow: only what another try can mend is tried again."""
    kind = type(error).__name__
    match error:
        case TryAgain():
            delay = timedelta(seconds=max(AT_ONCE_S, error.delay_s))
            return ApplicationError(str(error), type=error.failure.kind, next_retry_delay=delay)
        case StageDied():
            at_once = timedelta(seconds=AT_ONCE_S) if activity.info().attempt == 1 else None
            return ApplicationError(str(error), type=kind, next_retry_delay=at_once)
        case StageFailed() | DefinitionError() | LedgerCorrupt():
            return ApplicationError(str(error), *details_of(error), type=kind, non_retryable=True)
    return ApplicationError(str(error), type=kind)
