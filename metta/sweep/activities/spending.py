"""The activity that counts what was spent of budgets."""

import asyncio
from typing import Any

from temporalio import activity

from metta.sweep.activities.stages import attended
from metta.sweep.contracts.activities import COUNT_SPENT
from metta.sweep.contracts.experiments import SpentOrder, SpentResult
from metta.sweep.stores.base import Store
from metta.sweep.stores.spending import Spending


class SpentCounts:
    """What the sweeps and experiments of a store have spent.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def all(self) -> list[Any]:
        """All activities, for a worker."""
        return [self.count_spent]

    @activity.defn(name=COUNT_SPENT.name)
    async def count_spent(self, order: SpentOrder) -> SpentResult:
        """Count what each of them has spent, in their order."""
        return await attended(asyncio.to_thread(self._counted, order))  # large ledgers take a while

    def _counted(self, order: SpentOrder) -> SpentResult:
        spending = Spending(self._store)
        return SpentResult(spent={name: spending.by(name) for name in order.names})
