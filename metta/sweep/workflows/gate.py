"""The gate: where a workflow holds up what is about to begin."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from temporalio import workflow

WIDTH = 500
"""So many activities and children may be pending at the same time; the server refuses 2,000."""


class Gate:
    """Lets steps begin, unless it is shut; knows how many have begun and not ended.

    Args:
        is_shut: Asked whenever something has happened in the workflow.
    """

    def __init__(self, is_shut: Callable[[], bool]) -> None:
        self._is_shut = is_shut
        self.inside = 0
        self.children = 0

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait until the gate is open; within it, a step is going on."""
        await workflow.wait_condition(lambda: not self._is_shut() and self.inside < WIDTH)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @asynccontextmanager
    async def with_child(self) -> AsyncIterator[None]:
        """Within it, a child workflow is going on."""
        self.children += 1
        try:
            yield
        finally:
            self.children -= 1
