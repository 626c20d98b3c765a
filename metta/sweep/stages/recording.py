"""Recording: what happened to an experiment is written down, however long its store is away."""

import asyncio
import logging

from metta.sweep.contracts.errors import StoreAway
from metta.sweep.contracts.outcomes import Entry
from metta.sweep.stores.outcomes import Outcomes

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""So long after a store was away it is tried again."""


async def recorded(outcomes: Outcomes, *entries: Entry) -> None:
    """Record, however long the store is away: what a stage gave is not to be made again for that."""
    while True:
        try:
            await asyncio.to_thread(outcomes.add, *entries)
        except StoreAway as error:
            log.warning("it is tried again: %s", error)
            await asyncio.sleep(AGAIN_S)
        else:
            return
