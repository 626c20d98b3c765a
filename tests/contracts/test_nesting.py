"""What an async stage gets of a run that it has started, before it awaits it."""

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.nesting import Begun, NowhereNesting, Pending, nested_in, nesting


def pending() -> tuple[Pending, "Future[Any]"]:
    end = Future[Any]()
    return Pending(Begun("digits/search/a", end, lambda value: value)), end


async def test_it_goes_where_a_coroutine_goes() -> None:
    one, end = pending()
    end.set_result(7)
    assert asyncio.iscoroutine(one)
    assert await asyncio.create_task(one) == 7
    assert await one == 7


async def test_a_task_that_is_cancelled_before_its_first_step_ends_the_run() -> None:
    one, end = pending()
    task: asyncio.Task[Any] = asyncio.create_task(one)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert end.cancelled()


async def test_a_task_that_is_cancelled_ends_the_run_and_whoever_awaits_it_again_is_told() -> None:
    one, end = pending()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one, 0.01)
    assert end.cancelled()
    with pytest.raises(SweepError, match=r"digits/search/a was cancelled when an `await` of it was; call"):
        await one


async def test_of_two_who_await_one_run_the_other_one_is_told_that_it_was_cancelled() -> None:
    one, _ = pending()

    async def awaiting() -> Any:
        return await one

    first, second = asyncio.create_task(awaiting()), asyncio.create_task(awaiting())
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(SweepError, match="was cancelled"):
        await second
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_two_tasks_of_the_same_one_are_refused_as_of_a_coroutine() -> None:
    one, end = pending()
    first: asyncio.Task[Any] = asyncio.create_task(one)
    second: asyncio.Task[Any] = asyncio.create_task(one)
    with pytest.raises(RuntimeError, match="is awaited already"):
        await second
    end.set_result(7)
    assert await first == 7


async def test_what_fails_raises_where_it_is_awaited() -> None:
    one, end = pending()
    end.set_exception(SweepError("no luck"))
    with pytest.raises(SweepError, match="no luck"):
        await asyncio.create_task(one)


async def test_one_that_is_closed_ends_and_that_is_all() -> None:
    one, end = pending()
    one.close()
    assert end.cancelled()


def test_a_context_comes_before_what_holds_everywhere() -> None:
    everywhere, here = NowhereNesting("a"), NowhereNesting("b")
    assert nesting() is None
    with nested_in(everywhere, everywhere=True), nested_in(here):
        assert nesting() is here
    assert nesting() is None
