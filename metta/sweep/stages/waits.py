"""Waits: what a worker sees to while the code of a stage waits for nested runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from metta.sweep.contracts.nested import NestedEnd, NestedRun
from metta.sweep.stages.messages import Answered
from metta.sweep.stages.permits import Permit

log = logging.getLogger(__name__)

DROPPING_S = 5.0
"""So long the end of an attempt waits until runs that nobody wants any more are told to end."""


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
        self._asked: dict[int, asyncio.Task[NestedEnd]] = {}
        self._dropping: set[asyncio.Task[None]] = set()
        self._back = asyncio.Lock()

    def ask(self, number: int, run: NestedRun) -> None:
        """Let a run begin, and tell its end."""
        self._asked[number] = asyncio.create_task(self._nest.end_of(run))
        self._waiting[number] = asyncio.create_task(self._answered(number, run))
        self._rest()

    def drop(self, number: int) -> None:
        """Nobody wants to know of a run any more."""
        if asked := self._asked.get(number):
            asked.cancel()  # and not who waits for it, who has the permit and the clock to see to

    async def close(self) -> None:
        """Wait for nothing any more; those that were dropped are told so, unless that takes long."""
        tasks = [*self._waiting.values(), *self._asked.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._dropping:
            await asyncio.wait(self._dropping, timeout=DROPPING_S)
        for task in self._dropping:
            task.cancel()

    async def _answered(self, number: int, run: NestedRun) -> None:
        asked = self._asked[number]
        try:
            await asyncio.wait([asked])
        finally:  # when the attempt is over, the next one may ask again
            del self._asked[number]
            asked.cancel()
        if asked.cancelled():
            dropping = asyncio.create_task(self._dropped(run))
            self._dropping.add(dropping)
            dropping.add_done_callback(self._dropping.discard)
            await self._over(number)
            return
        if error := asked.exception():  # the machinery's: the stage is run again, and asks again
            log.warning("the nested run %s of %s: %s", run.key, run.at, error, exc_info=error)
            end = NestedEnd(trouble=f"{type(error).__name__}: {error}")
        else:
            end = asked.result()
        await self._over(number)
        await self._tell(Answered(number=number, end=end))

    async def _dropped(self, run: NestedRun) -> None:
        try:
            await self._nest.drop(run)
        except Exception as error:  # it ends with its stage at the latest
            log.warning("dropping the nested run %s of %s: %s", run.key, run.at, error, exc_info=True)

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
