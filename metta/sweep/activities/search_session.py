"""The activity `run_search_session`: attends a session, and leaves it running while the server is away."""

import asyncio
import logging
from math import inf
from time import monotonic
from typing import Any, TypeAlias

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from metta.sweep.activities.errors import told
from metta.sweep.activities.handles import RPC_TIMEOUT, is_over
from metta.sweep.activities.hosted import HostedSession
from metta.sweep.activities.meters import Meters, SessionMeter
from metta.sweep.contracts.activities import RUN_SEARCH_SESSION
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.sweeps import Progress, SessionInput, SessionResult, SweepResult
from metta.sweep.stores.base import Store

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often a session tells that it is alive, and asks what people want."""

ASK_S = 10.0
"""So long it is asked what people want before a session begins: a workflow whose worker was killed while it
had a task answers only when the engine has given up that task."""

TELL_S = 5.0
"""Each signal is five events in history: what changes more often is told no more often."""

WATCH_S = 5.0
"""How often it is looked whether the sweep of a parked session is still open."""

STOP_S = 60.0
"""Longer than a trial is given to come to a report; a disk that stays full needs more than a stop."""

CLOSE_S = 5.0
"""Below the worker's grace. What hangs for longer is left behind: it records nothing any more, because
the next session has a higher epoch."""


_Handle: TypeAlias = WorkflowHandle[object, SweepResult]


class SearchSessions:
    """All sessions of one worker.

    Args:
        store: Where ledgers lie.
        code: Where user code is found; objectives come with each sweep.
    """

    def __init__(self, store: Store, code: Code) -> None:
        self._store = store
        self._code = code
        self._hosted: dict[str, HostedSession] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._meters = Meters()

    @activity.defn(name=RUN_SEARCH_SESSION.name)
    async def run_search_session(self, input: SessionInput) -> SessionResult:
        """Host a search until it is over, or go on with one that was parked here."""
        run_id = str(activity.info().workflow_run_id)
        if input.control.run != run_id:  # asked for before a reset, by the run that was reset
            input = input.model_copy(update={"resume": True})
        handle = activity.client().get_workflow_handle(input.sweep_id, run_id=run_id)
        hosted = await self._session_for(run_id, handle, input)
        hosted.attendants += 1
        try:
            result = await self._attend(hosted, handle)
        except asyncio.CancelledError:
            result = await self._leave(hosted, handle)
            if result is None:
                raise
        except Exception as error:
            raise told(error) from error
        finally:
            hosted.attendants -= 1
            if hosted.done.done():
                self._drop(hosted)
        if result is None:
            raise ApplicationError(
                "the session was closed; the next one goes on from what is recorded",
                type="SessionClosed",
                category=ApplicationErrorCategory.BENIGN,
            )
        return result

    async def close(self) -> None:
        """End all sessions, parked ones too, and record nothing."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*(self._close(hosted) for hosted in self._hosted.values()))

    async def _session_for(self, run_id: str, handle: _Handle, input: SessionInput) -> HostedSession:
        hosted = self._hosted.get(input.sweep_id)
        if hosted and hosted.run_id != run_id:  # left over from an earlier run
            await self._close(hosted)
        if input.sweep_id not in self._hosted:
            input = input.model_copy(update={"control": await _wanted(handle, input.control)})
        hosted = self._hosted.get(input.sweep_id)  # another attempt may have come meanwhile
        if hosted is None:
            instruments = self._meters.here()
            meter = SessionMeter(instruments) if instruments else None
            hosted = HostedSession(run_id, input, self._store, self._code, meter)
            self._hosted[input.sweep_id] = hosted
        elif input.control.version > hosted.control.version:
            hosted.tell(input.control)
        return hosted

    async def _attend(self, hosted: HostedSession, handle: _Handle) -> SessionResult | None:
        shutdown = asyncio.create_task(activity.wait_for_worker_shutdown())
        # beside: a server that hangs must not silence the heartbeat
        talk = asyncio.create_task(_talk(hosted, handle))
        either: set[asyncio.Future[Any]] = {hosted.done, shutdown}
        try:
            while not hosted.done.done() and not shutdown.done():
                activity.heartbeat()
                await asyncio.wait(either, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            shutdown.cancel()
            talk.cancel()
        # when the worker ends, another one goes on from what is recorded
        return hosted.done.result() if hosted.done.done() else await self._close(hosted)

    async def _leave(self, hosted: HostedSession, handle: _Handle) -> SessionResult | None:
        """End, close or park a session whose activity is cancelled, as the reason of that demands."""
        details = activity.cancellation_details()
        if details and details.cancel_requested:
            hosted.stop()
            return await _ended(hosted, STOP_S) or await self._close(hosted)
        if details and (details.worker_shutdown or details.paused):
            return await self._close(hosted)
        if hosted.attendants == 1:
            log.info("the server does not know the session of %s for now: it goes on", hosted.sweep_id)
            watcher = asyncio.create_task(self._watch(hosted, handle))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)
        return None

    async def _watch(self, hosted: HostedSession, handle: _Handle) -> None:
        """Close a parked session when its sweep is over; end when an activity attends it again."""
        while hosted.attendants == 0:
            if await is_over(handle):
                await self._close(hosted)
                return
            await asyncio.sleep(WATCH_S)

    async def _close(self, hosted: HostedSession) -> SessionResult | None:
        """Close a session, and wait until it has ended; what came of it if it had ended before."""
        hosted.close()
        result = await _ended(hosted, CLOSE_S)
        if not hosted.done.done():
            log.warning("the session of %s does not end: it is left behind", hosted.sweep_id)
        self._drop(hosted)
        return result

    def _drop(self, hosted: HostedSession) -> None:
        if self._hosted.get(hosted.sweep_id) is hosted:
            del self._hosted[hosted.sweep_id]


async def _ended(hosted: HostedSession, patience_s: float) -> SessionResult | None:
    """Wait for the end of a session that was told to end; None when there is no result."""
    deadline = monotonic() + patience_s
    while not hosted.done.done() and monotonic() < deadline:
        if activity.in_activity():
            activity.heartbeat()
        await asyncio.wait({hosted.done}, timeout=POLL_S)
    failed_or_late = not hosted.done.done() or hosted.done.exception()
    return None if failed_or_late else hosted.done.result()


async def _wanted(handle: _Handle, scheduled: Control) -> Control:
    """What people want by now; the activity knows what they wanted when it was scheduled.

    A session that began with an old budget, because the worker before was killed, could start trials
    that nobody wants any more.
    """
    deadline = monotonic() + ASK_S
    while True:
        activity.heartbeat()
        try:
            control = await _asked(handle)
        except Exception as error:
            log.info("the workflow of %s does not answer yet: %s", handle.id, error)
            if not isinstance(error, RPCError) or monotonic() >= deadline:
                return scheduled  # it is asked again all the time
            await asyncio.sleep(POLL_S)
        else:
            return control.model_copy(update={"handover": False})  # to be heard as news


async def _asked(handle: _Handle) -> Control:
    control: Control = await handle.query("control", result_type=Control, rpc_timeout=RPC_TIMEOUT)
    return control


async def _talk(hosted: HostedSession, handle: _Handle) -> None:
    """Ask again and again what people want, and tell how far it is."""
    told: Progress | None = None
    told_at = -inf
    while True:
        try:
            hosted.tell(await _asked(handle))
            progress = hosted.progress
            if progress and progress is not told and monotonic() >= told_at + TELL_S:
                await handle.signal("progress", _news(progress, told), rpc_timeout=RPC_TIMEOUT)
                told, told_at = progress, monotonic()
        except Exception as error:  # whatever it is: the search goes on, and it is tried again
            log.info("the workflow of %s does not answer: %s", hosted.sweep_id, error)
        await asyncio.sleep(POLL_S)


def _news(progress: Progress, told: Progress | None) -> Progress:
    """How far it is; the best trials only when they are others than those that were told last."""
    unchanged = told is not None and progress.best == told.best
    return progress.model_copy(update={"best": None}) if unchanged else progress
