"""The activities of sweeps whose trials are jobs: they record what happened, and find what is missing."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from temporalio import activity

from metta.sweep.activities.errors import told
from metta.sweep.activities.handles import is_over
from metta.sweep.activities.meters import Instruments, Meters, SweepMeter
from metta.sweep.contracts.activities import ADVANCE_SEARCH, MISSING_TRIALS
from metta.sweep.contracts.advances import Advance, AdvanceOrder, Trials
from metta.sweep.contracts.consent import Consent, consenting
from metta.sweep.contracts.errors import LedgerFenced
from metta.sweep.search.jobs import JobSearch
from metta.sweep.stores.base import Store

T = TypeVar("T")

KEPT = 32
"""So many searches stay in memory; another one is folded from its ledger."""

THREADS = 4

BEAT_S = 1.0
"""How often an activity tells that it is alive; folding a large ledger takes a while."""


class SearchAdvances:
    """The searches of one worker whose trials are jobs.

    Args:
        store: Where ledgers lie.
        consent: What sweeps may name; None means everything.
    """

    def __init__(self, store: Store, consent: Consent | None = None) -> None:
        self._store, self._consent = store, consent
        self._searches: OrderedDict[str, JobSearch] = OrderedDict()
        self._meters = Meters()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # its own: whatever else waits for a file system must not keep searches from going on
        self._threads = ThreadPoolExecutor(THREADS, "searches")

    @property
    def all(self) -> list[Any]:
        """All activities, for a worker."""
        return [self.advance_search, self.missing_trials]

    @activity.defn(name=ADVANCE_SEARCH.name)
    async def advance_search(self, order: AdvanceOrder) -> Advance:
        """Record what happened to trials, and say what is to be done."""
        async with self._locks[order.sweep_id]:
            try:
                result = await self._beating(partial(self._advance, self._meters.here()), order)
            except Exception as error:
                self._drop(order.sweep_id)
                raise told(error, LedgerFenced) from error
            if result.finish:
                self._drop(order.sweep_id)
        self._forget()
        return result

    @activity.defn(name=MISSING_TRIALS.name)
    async def missing_trials(self, trials: Trials) -> Trials:
        """Those whose workflow is over, and which therefore will never tell anything."""
        handles = [activity.client().get_workflow_handle(k.workflow_id(trials.sweep_id)) for k in trials.keys]
        over = await asyncio.gather(*map(is_over, handles))
        missing = (key for key, is_missing in zip(trials.keys, over, strict=True) if is_missing)
        return trials.model_copy(update={"keys": tuple(missing)})

    def close(self) -> None:
        """Give back what is held open; what is carried out comes to its end first."""
        for sweep_id in list(self._searches):
            self._drop(sweep_id)
        self._threads.shutdown()

    def _advance(self, instruments: Instruments | None, order: AdvanceOrder) -> Advance:
        with consenting(self._consent):
            search = self._searches.get(order.sweep_id)
            # whoever resumes a sweep may have given it another definition
            if search is None or not order.epoch or search.spec != order.spec:
                self._drop(order.sweep_id)
                meter = SweepMeter(instruments) if instruments else None
                search = self._searches[order.sweep_id] = JobSearch(self._store, order, meter)
            self._searches.move_to_end(order.sweep_id)
            return search.advance(order)

    def _forget(self) -> None:
        known = list(self._searches)
        idle = [sweep_id for sweep_id in known if not self._locks[sweep_id].locked()]
        for sweep_id in idle[: max(0, len(known) - KEPT)]:
            self._drop(sweep_id)

    def _drop(self, sweep_id: str) -> None:
        if search := self._searches.pop(sweep_id, None):
            self._threads.submit(search.close)

    async def _beating(self, work: Callable[[AdvanceOrder], T], order: AdvanceOrder) -> T:
        """What work gives in a thread; meanwhile it is told that it goes on."""
        here = copy_context()  # in a thread, too, lines of the log say which sweep they are about
        task = asyncio.get_running_loop().run_in_executor(self._threads, lambda: here.run(work, order))
        while not (await asyncio.wait({task}, timeout=BEAT_S))[0]:
            activity.heartbeat()
        return task.result()
