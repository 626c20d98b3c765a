"""The activities of sweeps whose trials are jobs: they record what happened, and find what is missing."""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio import activity

from metta.sweep.activities.errors import told
from metta.sweep.activities.handles import is_over
from metta.sweep.contracts.activities import ADVANCE_SEARCH, MISSING_TRIALS
from metta.sweep.contracts.advances import Advance, AdvanceOrder, Trials
from metta.sweep.contracts.errors import LedgerFenced
from metta.sweep.search.jobs import JobSearch
from metta.sweep.stores.files import FileStore

T = TypeVar("T")

KEPT = 32
"""So many searches stay in memory; another one is folded from its ledger."""

BEAT_S = 1.0
"""How often an activity tells that it is alive; folding a large ledger takes a while."""


class SearchAdvances:
    """The searches of one worker whose trials are jobs.

    Args:
        store: Where ledgers lie.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._searches: OrderedDict[str, JobSearch] = OrderedDict()

    @property
    def all(self) -> list[Any]:
        """All activities, for a worker."""
        return [self.advance_search, self.missing_trials]

    @activity.defn(name=ADVANCE_SEARCH.name)
    async def advance_search(self, order: AdvanceOrder) -> Advance:
        """Record what happened to trials, and say what is to be done."""
        try:
            search = await self._search(order)
            result = await _beating(asyncio.to_thread(search.advance, order))
        except Exception as error:
            self._drop(order.sweep_id)
            raise told(error, LedgerFenced) from error
        if result.finish:
            self._drop(order.sweep_id)
        return result

    @activity.defn(name=MISSING_TRIALS.name)
    async def missing_trials(self, trials: Trials) -> Trials:
        """Those whose workflow is over, and which therefore will never tell anything."""
        handles = [activity.client().get_workflow_handle(k.workflow_id(trials.sweep_id)) for k in trials.keys]
        over = await asyncio.gather(*map(is_over, handles))
        missing = (key for key, is_missing in zip(trials.keys, over, strict=True) if is_missing)
        return trials.model_copy(update={"keys": tuple(missing)})

    def close(self) -> None:
        """Give back what is held open."""
        for sweep_id in list(self._searches):
            self._drop(sweep_id)

    async def _search(self, order: AdvanceOrder) -> JobSearch:
        if not order.epoch:  # its definition may be another one than before
            self._drop(order.sweep_id)
        if order.sweep_id not in self._searches:
            made = await _beating(asyncio.to_thread(JobSearch, self._store, order))
            self._searches.setdefault(order.sweep_id, made)
        self._searches.move_to_end(order.sweep_id)
        search = self._searches[order.sweep_id]
        while len(self._searches) > KEPT:
            self._drop(next(iter(self._searches)))
        return search

    def _drop(self, sweep_id: str) -> None:
        if search := self._searches.pop(sweep_id, None):
            search.close()


async def _beating(work: Coroutine[Any, Any, T]) -> T:
    """What work gives; meanwhile it is told that it goes on."""
    task = asyncio.ensure_future(work)
    while not (await asyncio.wait({task}, timeout=BEAT_S))[0]:
        activity.heartbeat()
    return task.result()
