"""Execution: calling the user's code, be it sync or async, with a time limit and a profile."""

import asyncio
import contextvars
import cProfile
import inspect
import io
import pstats
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from metta.sweep.contracts.plans import Profile

BUSIEST = 30
"""So many functions a full profile names."""


class Overdue(TimeoutError):
    """Code took longer than it was allowed to."""


async def settled(value: Any) -> Any:
    """A value, after awaiting it if need be."""
    return await value if inspect.isawaitable(value) else value


async def called(function: Callable[[], Any], timeout_s: float | None = None) -> Any:
    """What a function returns: a coroutine function's on this loop, any other one's from a thread.

    Args:
        function: What to call.
        timeout_s: Longest time it may take. A thread that takes longer is left behind.

    Raises:
        Overdue: When it takes longer.
    """
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            return await settled(function() if _is_async(function) else await _in_thread(function))
    except TimeoutError as error:
        if limit.expired():
            raise Overdue(f"it took longer than {timeout_s:g} s") from error
        raise  # its own


def _is_async(function: Any) -> bool:
    while hasattr(function, "func"):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


async def _in_thread(function: Callable[[], Any]) -> Any:
    """Not the loop's own threads: the process would wait for one of them that hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            settle(value)

    def run() -> None:
        try:
            outcome = (done.set_result, context.run(function))
        except BaseException as error:  # the loop's side raises it
            outcome = (done.set_exception, _portable(error))
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=run, name="stage", daemon=True).start()
    return await done


def _portable(error: BaseException) -> BaseException:
    """A future refuses StopIteration."""
    if not isinstance(error, StopIteration):
        return error
    made = RuntimeError("the stage raised StopIteration")
    made.__cause__ = error
    return made


class Profiler:
    """Measures what the code of a stage takes.

    Args:
        in_full: Whether to measure each function too.
    """

    def __init__(self, *, in_full: bool) -> None:
        self._functions = cProfile.Profile() if in_full else None

    def wrap(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """The function, measured in the thread in which it runs."""
        profile = self._functions
        if profile is None:
            return function
        if not _is_async(function):
            return lambda: profile.runcall(function)

        async def run() -> Any:
            with profile:
                return await function()

        return run

    def __enter__(self) -> "Profiler":
        self._owns_trace = not tracemalloc.is_tracing()
        if self._owns_trace:
            tracemalloc.start()
        tracemalloc.reset_peak()
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._began
        self.result = Profile(
            wall_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
            peak_bytes=tracemalloc.get_traced_memory()[1],
            report=self._report(),
        )
        if self._owns_trace:
            tracemalloc.stop()

    def _report(self) -> str:
        if self._functions is None:
            return ""
        text = io.StringIO()
        pstats.Stats(self._functions, stream=text).sort_stats("cumulative").print_stats(BUSIEST)
        return text.getvalue()
