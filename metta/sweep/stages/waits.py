"""Waits: what a worker sees to while the code of a stage waits for nested runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from metta.sweep.contracts.nested import NestedEnd, NestedRun
from metta.sweep.stages.messages import Answered
from metta.sweep.stages.permits import Permit

log = logging.getLogger(__name__)


class Nest(Protocol):
    """Carries out the runs that the code of a stage asks for."""

    async def end_of(self, run: NestedRun) -> NestedEnd:
        """Let a run begin, unless it has, and wait for its end."""
        ...

    async def drop(self, run: NestedRun) -> None:
        """Let a run end: nobody wants to know of it any more."""
        ...


class _Nobody:
    async def end_of(self, run: NestedRun) -> NestedEnd:
        raise RuntimeError(f"nothing carries out {run.key}")

    async def drop(self, run: NestedRun) -> None:
        raise RuntimeError(f"nothing carries out {run.key}")


NOBODY: Nest = _Nobody()
"""Carries out nothing: only the code of stages asks for runs."""


class Clock:
    """The time of an attempt, which stands still while it waits.

    Args:
        limit: Ends the attempt.
    """

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._left_s: float | None = None

    def stop(self) -> None:
        """Stand still."""
        if (end := self._limit.when()) is not None:
            self._left_s = end - asyncio.get_running_loop().time()
            self._limit.reschedule(None)

    def go_on(self) -> None:
        """Run again."""
        if self._left_s is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._left_s)
            self._left_s = None


class Waits:
    """The nested runs of one attempt. While there is any, it has no permit, and its clock stands still.

    Args:
        nest: What carries runs out.
        permit: The attempt's permit.
        clock: Its time.
        tell: Tells the stage process.
    """

    def __init__(
        self, nest: Nest, permit: Permit, clock: Clock, tell: Callable[[Answered], Awaitable[None]]
    ) -> None:
        self._nest, self._permit, self._clock, self._tell = nest, permit, clock, tell
        self._waiting: dict[int, asyncio.Task[None]] = {}
        self._dropped: set[int] = set()
        self._back = asyncio.Lock()

    def ask(self, number: int, run: NestedRun) -> None:
        """Let a run begin, and tell its end."""
        self._waiting[number] = asyncio.create_task(self._answered(number, run))
        self._rest()

    def drop(self, number: int) -> None:
        """Nobody wants to know of a run any more."""
        if task := self._waiting.get(number):
            self._dropped.add(number)
            task.cancel()

    async def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._waiting.values():
            task.cancel()
        if self._waiting:
            await asyncio.wait(self._waiting.values())

    async def _answered(self, number: int, run: NestedRun) -> None:
        try:
            end = await self._nest.end_of(run)
        except asyncio.CancelledError:
            if number not in self._dropped:  # the attempt is over, and the next one may ask again
                raise
            await self._nest.drop(run)
            await self._over(number)
            return
        except Exception as error:  # the machinery's: the stage is run again, and asks again
            log.warning("the nested run %s of %s: %s", run.key, run.at, error, exc_info=True)
            end = NestedEnd(trouble=f"{type(error).__name__}: {error}")
        await self._over(number)
        await self._tell(Answered(number=number, end=end))

    async def _over(self, number: int) -> None:
        """One wait less; behind the last one the attempt needs its permit again."""
        async with self._back:
            if len(self._waiting) == 1:
                await self._permit.regain()
                self._clock.go_on()
            self._waiting.pop(number, None)
            self._rest()  # if another one has begun meanwhile

    def _rest(self) -> None:
        if self._waiting:
            self._permit.lend()
            self._clock.stop()
