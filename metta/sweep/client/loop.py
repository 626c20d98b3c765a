"""One event loop in the background, so that plain programs and notebooks can use an async client."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="metta.sweep client", daemon=True).start()
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
