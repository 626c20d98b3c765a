"""One event loop in the background, so that plain programs and notebooks can use an async client."""

import asyncio
import atexit
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Thread, get_native_id
from time import monotonic, sleep
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")

CLOSE_S = 1.0
"""So long a program waits at its end for calls that it gave up."""

QUIET_S = 0.005
THREADS = Path("/proc/self/task")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="metta.sweep client", daemon=True)
    thread.start()
    atexit.register(_close, loop, thread)
    return loop


def submit(coroutine: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
    """Run a coroutine in the background."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


def call(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in the background and wait for its result; Ctrl-C cancels it."""
    future = submit(coroutine)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


def _close(loop: asyncio.AbstractEventLoop, thread: Thread) -> None:
    """Give up all calls, and wait until the engine's own threads have heard of that.

    One of them that comes back with an answer while Python shuts down hangs or aborts the program.
    """
    with suppress(TimeoutError):
        submit(_give_up()).result(CLOSE_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(CLOSE_S)
    deadline = monotonic() + CLOSE_S
    while not _is_quiet() and monotonic() < deadline:
        pass


async def _give_up() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_quiet() -> bool:
    """Whether no other thread runs, nor has any for a moment in which it could have run Python."""
    before = _threads()
    sleep(QUIET_S)
    return before == _threads() and not any("State:\tR" in thread for thread in before)


def _threads() -> list[str]:
    """What Linux says of the other threads: whether they run, and how often they got the processor."""
    found: list[str] = []
    others = [task for task in THREADS.glob("*") if task.name != str(get_native_id())]
    for task in others:
        with suppress(OSError):  # it has ended
            lines = (task / "status").read_text("utf-8").splitlines()
            found += [line for line in lines if line.startswith(("State", "voluntary", "nonvoluntary"))]
    return found
