"""What becomes of permit, time and runs while the code of a stage waits for nested runs."""

import asyncio
from contextlib import suppress

import pytest
from temporalio.client import RPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.activities import nested
from metta.sweep.contracts.nested import NestedEnd, NestedRun
from metta.sweep.contracts.plans import At
from metta.sweep.contracts.values import Value
from metta.sweep.stages.messages import Answered
from metta.sweep.stages.permits import Permit, Permits
from metta.sweep.stages.waits import Clock, Waits


def run(key: str) -> NestedRun:
    return NestedRun(at=At("search"), key=key, definition="", workflow="Sweep", input={})


class Slow:
    """Runs end when somebody says so."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[NestedEnd]] = {}
        self.dropped: list[str] = []

    async def end_of(self, run: NestedRun) -> NestedEnd:
        self.ends[run.key] = asyncio.get_running_loop().create_future()
        return await self.ends[run.key]

    async def drop(self, run: NestedRun) -> None:
        self.dropped.append(run.key)

    def end(self, key: str) -> None:
        self.ends[key].set_result(NestedEnd(value=Value(packed=key)))


class Attempt:
    """An attempt with one permit, of which there is no other."""

    def __init__(self) -> None:
        self.permits, self.nest = Permits(1), Slow()
        self.permit = Permit(self.permits)
        self.told: list[int] = []
        self.limit = asyncio.timeout(60)
        self.waits = Waits(self.nest, self.permit, Clock(self.limit), self._tell)

    async def _tell(self, said: Answered) -> None:
        self.told.append(said.number)


@pytest.fixture
async def attempt() -> Attempt:
    return Attempt()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_while_it_waits_others_have_its_permit_and_its_clock_stands_still(attempt: Attempt) -> None:
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        assert attempt.limit.when() is None
        async with Permit(attempt.permits):
            await settle()
            attempt.nest.end("a")
            await settle()
            assert attempt.told == []  # it has no permit yet
        await settle()
        assert attempt.told == [1]
        left_s = (attempt.limit.when() or 0) - asyncio.get_running_loop().time()
        assert 59 < left_s <= 60
        assert not attempt.permit.is_lent


async def test_of_two_runs_the_first_end_is_told_at_once_and_needs_no_permit(attempt: Attempt) -> None:
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        attempt.waits.ask(2, run("b"))
        await settle()
        async with Permit(attempt.permits):
            attempt.nest.end("b")
            await settle()
            assert attempt.told == [2]
        attempt.nest.end("a")
        await settle()
        assert attempt.told == [2, 1]
        assert not attempt.permit.is_lent


async def test_one_that_begins_while_another_waits_for_the_permit_keeps_it_lent(attempt: Attempt) -> None:
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        await settle()
        async with Permit(attempt.permits):
            attempt.nest.end("a")
            await settle()
            attempt.waits.ask(2, run("b"))
        await settle()
        assert attempt.told == [1]
        assert attempt.permit.is_lent
        attempt.nest.end("b")
        await settle()
        assert not attempt.permit.is_lent


async def test_what_is_dropped_is_ended_and_the_attempt_goes_on(attempt: Attempt) -> None:
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        await settle()
        attempt.waits.drop(1)
        attempt.waits.drop(7)  # its end has just been told
        await settle()
        assert (attempt.nest.dropped, attempt.told) == (["a"], [])
        assert not attempt.permit.is_lent


async def test_one_that_is_dropped_while_the_permit_is_awaited_leaves_the_attempt_whole(
    attempt: Attempt,
) -> None:
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        await settle()
        async with Permit(attempt.permits):
            attempt.nest.end("a")
            await settle()
            attempt.waits.drop(1)
            await settle()
        await settle()
        assert not attempt.permit.is_lent
        assert attempt.limit.when() is not None
        assert attempt.nest.dropped == []  # it had ended


@pytest.mark.parametrize("error", [OSError("no route"), RPCError("no", RPCStatusCode.INVALID_ARGUMENT, b"")])
async def test_the_attempt_goes_on_when_nobody_hears_of_the_drop(attempt: Attempt, error: Exception) -> None:
    async def drop(run: NestedRun) -> None:
        raise error

    attempt.nest.drop = drop  # type: ignore[method-assign]
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        await settle()
        attempt.waits.drop(1)
        await settle()
        assert not attempt.permit.is_lent
        assert attempt.limit.when() is not None


async def test_a_drop_is_told_when_the_server_is_back(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    async def drop(run: NestedRun) -> None:
        async def call() -> None:
            calls.append(run.key)
            if len(calls) < 3:
                raise RPCTimeoutOrCancelledError

        await nested.insisted(call)

    monkeypatch.setattr(nested, "AGAIN_S", 0.01)
    attempt.nest.drop = drop  # type: ignore[method-assign]
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        await settle()
        attempt.waits.drop(1)
        await settle()
        assert not attempt.permit.is_lent  # it does not wait for the server
        await attempt.waits.close()
        assert calls == ["a", "a", "a"]


async def test_at_the_end_of_an_attempt_its_runs_go_on(attempt: Attempt) -> None:
    async with attempt.permit, attempt.limit:
        attempt.waits.ask(1, run("a"))
        await settle()
        await attempt.waits.close()
        assert attempt.nest.dropped == []
    async with asyncio.timeout(1), Permit(attempt.permits):
        pass  # it was given back once, and not twice


async def test_what_breaks_around_a_run_is_no_failure_of_the_stage() -> None:
    class Broken(Slow):
        async def end_of(self, run: NestedRun) -> NestedEnd:
            raise OSError("no such host")

    ends: list[NestedEnd] = []

    async def tell(said: Answered) -> None:
        ends.append(said.end)

    async with Permit(Permits(1)) as permit, asyncio.timeout(None) as limit:
        Waits(Broken(), permit, Clock(limit), tell).ask(1, run("a"))
        await settle()
    assert [end.trouble for end in ends] == ["OSError: no such host"]


async def test_who_had_a_permit_before_gets_it_first() -> None:
    permits, order = Permits(1), list[str]()

    async def take(name: str, *, again: bool) -> None:
        await permits.acquire(again=again)
        order.append(name)
        permits.release()

    await permits.acquire()
    tasks = [asyncio.create_task(take(name, again=name == "back")) for name in ("new", "newer", "back")]
    await settle()
    permits.release()
    await asyncio.gather(*tasks)
    assert order == ["back", "new", "newer"]


async def test_a_permit_is_not_lost_when_whoever_gets_it_is_cancelled_at_that_moment() -> None:
    permits = Permits(1)
    await permits.acquire()
    waiting = asyncio.create_task(permits.acquire())
    await settle()
    permits.release()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(1):
        await permits.acquire()
