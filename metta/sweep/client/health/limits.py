"""Limits: how long a check may take. A disk that hangs must not hang whoever looks for what hangs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

RPC = timedelta(seconds=5)
"""For a single question to the server."""

STORE_S = 40.0
"""For a look at the store; a bucket that does not answer is asked for half a minute."""

RECORDS_S = 60.0
"""For reading all that is recorded; what was not read by then is told."""

CHECK_S = 40.0
"""For all questions of one check to the server."""


async def within(seconds: float, work: Callable[[], T]) -> T:
    """What a function that blocks returns, in a thread that nobody waits for when it takes too long.

    Args:
        seconds: How long it may take.
        work: The function.

    Raises:
        TimeoutError: When it takes longer.
    """
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()  # from here on nobody can take it back
        try:
            future.set_result(work())
        except BaseException as error:  # whoever waits is to get it, whatever it is
            future.set_exception(error)

    Thread(target=run, name="metta.sweep health", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(future)
