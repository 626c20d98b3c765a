"""Experiments whose stages run sweeps as Python programs do: in tasks, groups, pools, and processes."""

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from metta.sweep import Constant, RetryPolicy, Uniform
from metta.sweep.contracts.errors import SweepError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline
from tests.experiments.nesting import gated, note, sweep

X = {"x": Uniform(0.0, 1.0)}


class Leaf(Experiment):
    n: int = 0

    def leaf(self) -> int:
        return self.n

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("leaf", self.leaf)


class Idioms(Experiment):
    """Starts runs in each way that asyncio knows."""

    async def search(self) -> list[int]:
        found = []
        task: asyncio.Task[Any] = asyncio.create_task(sweep(name="task").run(budget=2))  # type: ignore[arg-type]
        other = asyncio.create_task(Leaf(n=2).run())
        async with asyncio.TaskGroup() as group:
            third = group.create_task(sweep(name="grouped").run(budget=1))  # type: ignore[arg-type, var-annotated]
            fourth = group.create_task(Leaf(n=3).run())
        found += [len((await task).trials), await other, len(third.result().trials), fourth.result()]
        found.append(len((await asyncio.wait_for(sweep(name="timed").run(budget=2), 60)).trials))
        async with asyncio.timeout(60):
            found.append(len((await sweep(name="limited").run(budget=1)).trials))
        both = [sweep(name=name).run(budget=2) for name in ("a", "b")]
        found += [len((await first).trials) for first in asyncio.as_completed(both)]
        found += [len(results.trials) for results in both]
        return found

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Pool(Experiment):
    """Runs sweeps in the threads of a pool."""

    def search(self) -> list[str]:
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda one: one.run(budget=2), [sweep(name="p1"), sweep(name="p2")])
            return [results.sweep_id for results in found]

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Forking(Experiment):
    """Runs sweeps in processes."""

    def search(self) -> list[int]:
        with get_context("fork").Pool(1) as pool:
            return pool.map(_forked, [2])

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search).through(on_error=self.after)

    def after(self, error: BaseException) -> list[int]:
        assert "in a process that the stage has forked" in str(error), error
        return [len(sweep(name="here").run(budget=1).trials)] if "no hook" in str(error) else [1]


def _forked(budget: int) -> int:
    return len(sweep().run(budget=budget).trials)


class Starting(Experiment):
    """Starts what it should run."""

    what: str

    def search(self) -> str:
        try:
            (Leaf() if self.what == "experiment" else sweep()).start()
        except SweepError as error:
            return str(error)
        return "started"

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Hooked(Experiment):
    """Runs a sweep in a hook."""

    async def after(self, value: int) -> int:
        return len((await sweep(name="in-a-hook").run(budget=2)).trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", lambda: 1).through(transform=self.after)


class Tagged(Experiment):
    tags: set[str]

    def leaf(self) -> int:
        return len(self.tags)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("leaf", self.leaf)


class Killed(Experiment):
    """Its process dies twice after it has run two with sets in them."""

    folder: str

    async def go(self) -> int:
        def local(params: dict[str, Any]) -> dict[str, float]:
            return {"score": 1.0 if "a" in {"a", "b", "c", "d", "e", "f", "g"} else 0.0}

        await Tagged(tags={"red", "green", "blue", "black", "white", "grey"}).run()
        await SweepExperiment(local, X, metric="score", goal="maximize", seed=1).run(budget=2)
        note(self.folder, "tried")
        attempts = len((Path(self.folder) / "notes.txt").read_text().splitlines())
        if attempts < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return attempts

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go).through(retry=9)


async def _in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(sweep(name="one").run(budget=2))  # type: ignore[arg-type]


async def _gathered() -> None:
    await asyncio.gather(sweep(name="one").run(budget=2), return_exceptions=True)


async def _swallowed() -> None:
    try:
        await sweep(name="one").run(budget=2)
    except BaseException as error:
        raise ValueError("something else") from error


TROUBLED: dict[str, Callable[[], Any]] = {
    "group": _in_a_group,
    "gathered": _gathered,
    "swallowed": _swallowed,
}


class Troubled(Experiment):
    """Does not let trouble pass."""

    way: str

    async def go(self) -> str:
        await TROUBLED[self.way]()
        return "done"

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go)


class Cancelled(Experiment):
    """Ends by what looks as if somebody had cancelled it."""

    way: str = "raised"

    async def go(self) -> int:
        if self.way == "raised":
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(1)
        return 1

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go)


class Again(Experiment):
    """Awaits again what it has cancelled, and then runs it anew."""

    async def go(self) -> list[str]:
        found = []
        for run in (partial(sweep(name="s").run, budget=2), partial(Leaf(n=2).run, name="e")):
            pending: Any = run()
            try:
                await asyncio.wait_for(pending, 0)
            except TimeoutError:
                try:
                    await pending
                except SweepError as error:
                    found.append(str(error).partition("/go/")[2])
        return found

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go)


class Refused(Experiment):
    """Has no budget left, or runs what is defined wrongly; it would be tried again."""

    way: str
    folder: str

    async def go(self) -> int:
        note(self.folder, "tried")
        if self.way == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(self.spend())
        return (
            await self.spend()
            if self.way == "budget"
            else await Refused(way=self.way, folder=self.folder).run()
        )

    async def spend(self) -> int:
        await sweep(name="first").run(budget=2)
        return len((await sweep(name="second").run(budget=2)).trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go).through(retry=5)


class Dropping(Experiment):
    """Drops a sweep, and fails; then it wants all of it."""

    folder: str

    async def go(self) -> int:
        space = {**X, "folder": Constant(self.folder)}
        executor = LocalExecutor(max_parallel=1)
        search = SweepExperiment(gated, space, metric="score", goal="maximize", executor=executor, seed=1)
        opening = Path(self.folder) / "open-1"
        if opening.exists():
            return len((await search.run(budget=2, name="s")).trials)
        opening.with_name("open-0").touch()
        try:
            return len((await asyncio.wait_for(search.run(budget=2, name="s"), 4)).trials)
        except TimeoutError:
            opening.touch()
            raise ValueError("not yet") from None

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go).through(retry=RetryPolicy(max_attempts=3, backoff=(0.0,)))


class Many(Experiment):
    """Runs one after the other."""

    count: int

    async def go(self) -> int:
        for n in range(self.count):
            await Leaf(n=n).run()
        return self.count

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go)


class Retrying(Experiment):
    """Runs the same ones at each of its attempts."""

    folder: str

    async def go(self) -> int:
        note(self.folder, "tried")
        await asyncio.gather(*(Leaf(n=n).run() for n in range(3)))
        unfinished = asyncio.create_task(sweep(name="slow").run(budget=1))  # type: ignore[arg-type, var-annotated]
        if len((Path(self.folder) / "notes.txt").read_text().splitlines()) < 4:
            await asyncio.sleep(0.5)
            raise ValueError("not yet")
        return len((await unfinished).trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go).through(retry=9)
