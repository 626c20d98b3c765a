"""Permits: how much code of stages runs at the same time on a worker."""

import asyncio
from collections import deque


class Permits:
    """So many permits; those who had one before come first.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting = deque[asyncio.Future[None]]()

    async def acquire(self, *, again: bool = False) -> None:
        """Wait for a permit.

        Args:
            again: Whether it was held before: what has begun comes first, so that it ends.
        """
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if again else self._waiting.append)(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given at this very moment
                self.release()
            raise

    def release(self) -> None:
        """Give a permit back."""
        while self._waiting:
            if not (turn := self._waiting.popleft()).done():
                turn.set_result(None)
                return
        self._free += 1


class Permit:
    """The permit of one task, which it can lend to others while it waits.

    Args:
        permits: Where it is from.
    """

    def __init__(self, permits: Permits) -> None:
        self._permits = permits
        self._is_held = False

    async def __aenter__(self) -> "Permit":
        await self._permits.acquire()
        self._is_held = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.lend()

    @property
    def is_lent(self) -> bool:
        """Whether others may use it."""
        return not self._is_held

    def lend(self) -> None:
        """Let others use it."""
        if self._is_held:
            self._is_held = False
            self._permits.release()

    async def regain(self) -> None:
        """Wait until it is one's own again."""
        if not self._is_held:
            await self._permits.acquire(again=True)
            self._is_held = True
