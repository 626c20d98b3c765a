"""The activity `run_search_session`: attends a session, and leaves it running while the server is away."""

import asyncio
import logging
from datetime import timedelta
from typing import Any, TypeAlias

from temporalio import activity
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.activities.hosted import HostedSession
from metta.sweep.contracts.activities import RUN_SEARCH_SESSION
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.errors import LedgerCorrupt, StoreError
from metta.sweep.contracts.sweeps import SessionInput, SessionResult, SweepResult
from metta.sweep.stores.files import FileStore

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often a session tells that it is alive, and asks what people want."""

RPC_TIMEOUT = timedelta(seconds=3)
"""What does not answer by then is asked again at the next poll."""

WATCH_S = 5.0
"""How often it is looked whether the sweep of a parked session is still open."""


_Handle: TypeAlias = WorkflowHandle[object, SweepResult]


class SearchSessions:
    """All sessions of one worker.

    Args:
        store: Where ledgers lie.
        code: Where user code is found; objectives come with each sweep.
    """

    def __init__(self, store: FileStore, code: Code) -> None:
        self._store = store
        self._code = code
        self._hosted: dict[str, HostedSession] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    @activity.defn(name=RUN_SEARCH_SESSION.name)
    async def run_search_session(self, input: SessionInput) -> SessionResult:
        """Host a search until it is over, or go on with one that was parked here."""
        handle = activity.client().get_workflow_handle(input.sweep_id, run_id=input.control.run)
        hosted = await self._session_for(input)
        hosted.attendants += 1
        try:
            result = await self._attend(hosted, handle)
        except asyncio.CancelledError:
            await self._leave(hosted, handle)
            raise
        except Exception as error:
            raise _told(error) from error
        finally:
            hosted.attendants -= 1
            if hosted.done.done():
                self._drop(hosted)
        if result is None:
            raise ApplicationError("the session was closed; the next one goes on from what is recorded")
        return result

    async def close(self) -> None:
        """End all sessions, parked ones too, and record nothing."""
        for watcher in self._watchers:
            watcher.cancel()
        for hosted in self._hosted.values():
            hosted.close()
        await asyncio.gather(*(h.done for h in self._hosted.values()), return_exceptions=True)

    async def _session_for(self, input: SessionInput) -> HostedSession:
        hosted = self._hosted.get(input.sweep_id)
        if hosted and hosted.control.run != input.control.run:  # left over from an earlier run
            hosted.close()
            await asyncio.wait([hosted.done])
            hosted = None
        if hosted is None:
            hosted = self._hosted[input.sweep_id] = HostedSession(input, self._store, self._code)
        elif input.control.version > hosted.control.version:
            hosted.tell(input.control)
        return hosted

    async def _attend(self, hosted: HostedSession, handle: _Handle) -> SessionResult | None:
        shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
        either: list[asyncio.Future[Any]] = [hosted.done, shutdown]
        exchange = asyncio.create_task(_exchange(hosted, handle))
        try:
            while not hosted.done.done() and not shutdown.done():
                activity.heartbeat()
                if exchange.done():  # a server that hangs must not silence the heartbeat
                    exchange = asyncio.create_task(_exchange(hosted, handle))
                await asyncio.wait(either, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            shutdown.cancel()
            exchange.cancel()
        if not hosted.done.done():  # another worker goes on from what is recorded
            hosted.close()
            await _over(hosted)
        return hosted.done.result()

    async def _leave(self, hosted: HostedSession, handle: _Handle) -> None:
        """End, close or park a session whose activity is cancelled, as the reason of that demands."""
        details = activity.cancellation_details()
        if details and details.cancel_requested:
            hosted.stop()
            await _over(hosted)
        elif details and (details.worker_shutdown or details.paused):
            hosted.close()
            await _over(hosted)
        elif hosted.attendants == 1:
            log.info("the server does not know the session of %s for now: it goes on", hosted.sweep_id)
            watcher = asyncio.create_task(self._watch(hosted, handle))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)

    async def _watch(self, hosted: HostedSession, handle: _Handle) -> None:
        """Close a parked session when its sweep is over; end when an activity attends it again."""
        await asyncio.sleep(WATCH_S)
        while hosted.attendants == 0:
            if await _is_closed(handle):
                hosted.close()
                await asyncio.wait([hosted.done])
                self._drop(hosted)
                return
            await asyncio.sleep(WATCH_S)

    def _drop(self, hosted: HostedSession) -> None:
        if self._hosted.get(hosted.sweep_id) is hosted:
            del self._hosted[hosted.sweep_id]


async def _over(hosted: HostedSession) -> None:
    """Wait for the end of a session that was told to end, and let the server know that it still lives."""
    while not hosted.done.done():
        activity.heartbeat()
        await asyncio.wait([hosted.done], timeout=POLL_S)


async def _exchange(hosted: HostedSession, handle: _Handle) -> None:
    """Ask what people want, and tell how far it is."""
    try:
        hosted.tell(await handle.query("control", result_type=Control, rpc_timeout=RPC_TIMEOUT))
        if news := hosted.news():
            await handle.signal("progress", news, rpc_timeout=RPC_TIMEOUT)
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
        log.info("the server does not answer for %s: %s", hosted.sweep_id, error)


async def _is_closed(handle: _Handle) -> bool:
    """Whether the sweep is over for certain."""
    try:
        description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        return error.status is RPCStatusCode.NOT_FOUND
    return description.status is not WorkflowExecutionStatus.RUNNING


def _told(error: Exception) -> ApplicationError:
    """An error for the workflow: only what another try can mend is tried again."""
    mendable = isinstance(error, OSError | StoreError) and not isinstance(error, LedgerCorrupt)
    return ApplicationError(str(error), type=type(error).__name__, non_retryable=not mendable)
