"""Attending trials: what goes on is told, what is cancelled is stopped, and what failed is shown."""

import asyncio
from collections.abc import Callable
from time import monotonic, time
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from metta.sweep.activities.handles import RPC_TIMEOUT, is_over
from metta.sweep.activities.places import Place
from metta.sweep.contracts.advances import TrialNews, TrialOrder
from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.errors import DefinitionError, StoreError
from metta.sweep.contracts.events import AttemptEnded, Failed
from metta.sweep.contracts.failures import Failure, shown_failure
from metta.sweep.executors.reports import Reports

T = TypeVar("T")

BEAT_S = 1.0
"""How often it is told that a trial goes on, and heard whether it is cancelled."""

TELL_S = 1.0
"""So long after its beginning a trial that goes on tells what it has reported, and then each time that it has
become a twentieth older: each telling costs events in two histories."""

CLOSED_S = 60.0
"""How often it is looked whether the sweep is still open."""


async def attended(work: "asyncio.Future[T]", stop: Callable[[], None], what: str) -> T:
    """What work gives; meanwhile it is told that it goes on, and a cancelled one is stopped.

    Args:
        work: It ends by itself when it is stopped.
        stop: Stops it; called when somebody cancels it, not when the worker ends.
        what: What becomes of it when the worker ends, for people.

    Raises:
        ApplicationError: When the worker ends before.
    """
    shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
    either: set[asyncio.Future[Any]] = {work, shutdown}
    try:
        while not work.done() and not shutdown.done():
            activity.heartbeat()
            try:
                await asyncio.wait(either, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                details = activity.cancellation_details()
                if details is None or not details.cancel_requested:
                    raise  # whoever attends it next finds it
                stop()
        if work.done():
            return work.result()
    finally:
        shutdown.cancel()
    raise ApplicationError(
        f"the worker ends; {what}", type="WorkerEnded", category=ApplicationErrorCategory.BENIGN
    )


class Teller:
    """Tells the workflow of a sweep what one of its trials reports, now and then.

    Args:
        order: What is run, and who wants it.
        place: Where the trial works.
    """

    def __init__(self, order: TrialOrder, place: Place) -> None:
        self._handle = activity.client().get_workflow_handle(order.sweep_id)
        self._place, self._ledger_id = place, order.ledger_id
        self._began = self._told_at = self._looked_at = monotonic()
        self._size = 0

    async def tell(self, reports: Reports) -> None:
        """Tell what is reported by now, when it is time to."""
        now, size = monotonic(), reports.size
        is_due = now - self._told_at >= max(TELL_S, (now - self._began) / 20)
        if not is_due or size <= self._size:
            return
        self._told_at, self._size = now, size
        try:
            await asyncio.to_thread(self._place.keep, reports)
            key = self._place.attempt.key._asdict()
            news = TrialNews(**key, reports=size, ledger_id=self._ledger_id)
            await self._handle.signal("trial_news", news, rpc_timeout=RPC_TIMEOUT)
        except (RPCError, StoreError) as error:  # it is told again with the next report, or at the end
            activity.logger.info("nothing is told to %s: %s", self._handle.id, error)

    async def is_unwanted(self) -> bool:
        """Whether the sweep is over, as far as it was looked."""
        now = monotonic()
        if now - self._looked_at < CLOSED_S:
            return False
        self._looked_at = now
        return await is_over(self._handle)


def news_of(key: AttemptKey, reports: int, end: AttemptEnded | None = None) -> TrialNews:
    """News of an attempt; see ``TrialNews``."""
    return TrialNews(**key._asdict(), reports=reports, end=end)


def unusable(attempt: Attempt, error: DefinitionError) -> Failed:
    """The end of an attempt that can never run."""
    failure = Failure(kind="user", message=str(error))
    return Failed(at=time(), failure=failure, **attempt.key._asdict())


def failed_trial(news: TrialNews, failure: Failure) -> ApplicationError:
    """The error of an activity whose trial has failed."""
    return ApplicationError(shown_failure(failure), news, type=failure.kind, non_retryable=True)
