"""Experiments whose stages run others."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from metta.sweep import Budget, Constant, RetryPolicy, SweepFailed, Trial, Uniform, current_stage
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline

X = {"x": Uniform(0.0, 1.0)}


def note(folder: str, line: str) -> None:
    """Append a line to the notes of a run: what was really done."""
    if folder:
        with (Path(folder) / "notes.txt").open("a") as notes:
            notes.write(line + "\n")


def train(params: dict[str, Any]) -> dict[str, float]:
    return {"score": 1 - (params["x"] - 0.3) ** 2}


def sweep(**options: Any) -> SweepExperiment:
    return SweepExperiment(train, X, metric="score", goal="maximize", **{"seed": 3, **options})


class Best(BaseModel):
    score: float
    sweeps: list[str]


class Searching(Experiment):
    """Awaits a sweep in an async stage."""

    trials: int = 4

    async def search(self) -> Best:
        results = await sweep().run(budget=self.trials)
        return Best(score=results.best_metric, sweeps=[results.sweep_id])

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Blocking(Experiment):
    """Runs sweeps in a sync stage, one after the other."""

    def search(self) -> Best:
        found = [sweep(name=name).run(budget=2) for name in ("first", "second")]
        return Best(score=max(r.best_metric for r in found), sweeps=[r.sweep_id for r in found])

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Gathering(Experiment):
    """Awaits two at once, in a loop."""

    async def search(self) -> Best:
        found = await asyncio.gather(sweep().run(budget=2), sweep().run(budget=2))
        return Best(score=max(r.best_metric for r in found), sweeps=[r.sweep_id for r in found])

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().loop_while(lambda ctx: ctx.iteration < 2).stage("search", self.search).end_loop()


class Deep(Experiment):
    """Runs itself, one level deeper."""

    depth: int = 3
    folder: str = ""

    async def descend(self) -> int:
        note(self.folder, f"{self.depth} {current_stage().key}")
        below = await Deep(depth=self.depth - 1, folder=self.folder).run() if self.depth else -1
        return int(below) + 1

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("descend", self.descend)


class Fragile(Experiment):
    """Fails as long as a file is missing."""

    folder: str
    input: int = 0

    def work(self, value: int) -> int:
        note(self.folder, f"work {value}")
        if not (Path(self.folder) / "mended").exists():
            raise ValueError("it is broken")
        return value + 1

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("first", self.first).stage("work", self.work)

    def first(self, value: int) -> int:
        note(self.folder, f"first {value}")
        return value + 10


class Caring(Experiment):
    """Retries a stage that runs a whole one and a broken one."""

    folder: str

    async def care(self) -> int:
        note(self.folder, "care")
        steps = await Deep(depth=1, folder=self.folder).run()
        try:
            return int(steps + await Fragile(folder=self.folder).run(5))
        except Exception:
            (Path(self.folder) / "mended").touch()
            raise

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("care", self.care).through(retry=2)


class Endless(Experiment):
    """Runs itself as it is."""

    async def again(self) -> int:
        return int(await Endless().run())

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("again", self.again)


class Forgetful(Experiment):
    """Does not await what it runs."""

    async def search(self) -> float:
        return sweep().run(budget=2).best_metric

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Asking(Experiment):
    """Runs something in a predicate."""

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().conditional(
            lambda ctx: sweep().run(budget=2).best_metric > 0, Pipeline().stage("then", lambda: 1)
        )


class Saying(Experiment):
    """Runs a sweep that says nothing but its space, one level deeper."""

    depth: int = 1

    async def search(self) -> float:
        if self.depth:
            return float(await Saying(depth=self.depth - 1).run())
        return (await SweepExperiment(search_space=X).run(budget=2)).best_metric

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Spending(Experiment):
    """Searches several times, each time with a budget of its own, in a loop or at once."""

    times: int = 3
    trials: int | None = 4
    at_once: bool = False
    levels: int = 0
    direct: int = 0
    within: int = 100

    async def spend(self) -> list[int]:
        if self.levels:
            below = Spending(
                times=self.times, trials=self.trials, at_once=self.at_once, levels=self.levels - 1
            )
            return [*(await below.run(budget=self.within, name="below"))]
        sweeps = [sweep(name=f"s{n}") for n in range(self.times)]
        if self.at_once:
            found = await asyncio.gather(*(s.run(budget=self.trials) for s in sweeps))
        else:
            found = [await s.run(budget=self.trials) for s in sweeps]
        return [len(results.trials) for results in found]

    def pipeline(self) -> Pipeline[Any]:
        first = Pipeline[Any]()
        if self.direct:
            first = first.stage("sweep", sweep(budget=self.direct))
        return first.stage("spend", self.spend)


def gated(trial: Trial) -> dict[str, float]:
    import time

    while trial.number and not (Path(trial.params["folder"]) / f"open-{trial.number}").exists():
        time.sleep(0.02)
    return {"score": trial.params["x"]}


class Gated(Experiment):
    """Waits for a sweep whose trials, but the first, end when somebody lets them."""

    folder: str

    async def wait(self) -> int:
        space = {**X, "folder": Constant(self.folder)}
        search = SweepExperiment(
            gated, space, metric="score", goal="maximize", executor=LocalExecutor(max_parallel=1)
        )
        return len((await search.run(budget=6)).trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("wait", self.wait)


def slow(trial: Trial) -> dict[str, float]:
    import time

    for step in range(600):
        time.sleep(0.1)
        trial.report(step=step, score=float(step))
    return {"score": 0.0}


class Slow(Experiment):
    """Waits for a sweep that takes its time, beside another stage."""

    async def wait(self) -> int:
        sweeping = SweepExperiment(slow, X, metric="score", goal="maximize")
        return len((await sweeping.run(budget=2)).trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("wait", self.wait)


class Top(Experiment):
    """Waits for another one that waits."""

    async def wait(self) -> int:
        result: int = await Slow().run(name="below")
        return result

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("wait", self.wait)


def broken(params: dict[str, Any]) -> float:
    raise ValueError("no luck today")


class Breaking(Experiment):
    """Runs sweeps of which every trial fails, until something else than that goes wrong."""

    async def insist(self) -> int:
        for _ in range(9):
            search = SweepExperiment(broken, X, metric="score", goal="maximize", max_failures=1)
            try:
                await search.run(budget=2)
            except SweepFailed:
                continue
        return 9

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("insist", self.insist)


class Impatient(Experiment):
    """Waits a moment for a sweep that takes its time, and does not await another one at all."""

    async def wait(self) -> str:
        unwanted = SweepExperiment(slow, X, metric="score", goal="maximize", name="unwanted")
        unwanted.run(budget=1)
        wanted = SweepExperiment(slow, X, metric="score", goal="maximize", name="late")
        try:
            await asyncio.wait_for(_awaited(wanted), 2)
        except TimeoutError:
            await asyncio.sleep(1)
            return "too late"
        return "in time"

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("wait", self.wait)


async def _awaited(search: SweepExperiment) -> Any:
    return await search.run(budget=1)


def pausing(trial: Trial) -> dict[str, float]:
    import time

    time.sleep(0.5)
    return {"score": 1.0}


class Timed(Experiment):
    """Has less time than what it waits for takes."""

    async def wait(self) -> int:
        search = SweepExperiment(
            pausing, X, metric="score", goal="maximize", executor=LocalExecutor(max_parallel=1)
        )
        return len((await search.run(budget=5)).trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("wait", self.wait).through(timeout=2)


def marked(trial: Trial) -> dict[str, float]:
    import time

    note(trial.params["folder"], f"begin {time.time()}")
    time.sleep(0.2)
    note(trial.params["folder"], f"end {time.time()}")
    return {"score": trial.params["x"]}


class Crowd(Experiment):
    """Runs many sweeps at once."""

    folder: str
    count: int = 100

    async def search(self) -> int:
        space = {**X, "folder": Constant(self.folder)}
        searches = [
            SweepExperiment(marked, space, metric="score", goal="maximize", name=f"s{n}")
            for n in range(self.count)
        ]
        found = await asyncio.gather(*(search.run(budget=2) for search in searches))
        return sum(len(results.trials) for results in found)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("search", self.search)


class Stepwise(Experiment):
    """Runs one sweep after the other."""

    times: int = 6

    async def go(self) -> int:
        found = [await sweep(name=f"s{n}").run(budget=2) for n in range(self.times)]
        return sum(len(results.trials) for results in found)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go)


class Siblings(Experiment):
    """Runs two experiments at once, neither of which has a budget of its own."""

    async def both(self) -> list[int]:
        return [*await asyncio.gather(Stepwise(times=1).run(name="a"), Stepwise(times=1).run(name="b"))]

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("both", self.both)


def stubborn(trial: Trial) -> dict[str, float]:
    import time

    time.sleep(2)
    return {"score": trial.params["x"]}


class Fickle(Experiment):
    """Does not want a sweep any more, fails, asks for it again at once, and then for another one."""

    folder: str

    async def go(self) -> list[int]:
        first = Path(self.folder) / "first"
        if not first.exists():
            first.touch()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._late(), 3)
            raise ValueError("once more")
        late = asyncio.ensure_future(self._late())
        await asyncio.sleep(4)
        other = await sweep(name="other").run(budget=50)
        return [len((await late).trials), len(other.trials)]

    async def _late(self) -> Any:
        one = LocalExecutor(max_parallel=1)
        search = SweepExperiment(stubborn, X, metric="score", goal="maximize", name="late", executor=one)
        return await search.run(budget=6)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go).through(retry=RetryPolicy(max_attempts=3, backoff=(0.0,)))


class Giving(Experiment):
    """Three sweeps that need less than they ask for, and then one that takes what is left."""

    async def take(self) -> list[int]:
        one = LocalExecutor(max_parallel=1)
        enough = Budget(trials=4, target=-1.0)
        sweeps = [sweep(name=f"s{n}", executor=one).run(budget=enough) for n in range(3)]
        return [len(results.trials) for results in await asyncio.gather(*sweeps)]

    async def rest(self, taken: list[int]) -> list[int]:
        return [*taken, len((await sweep(name="rest").run()).trials)]

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("take", self.take).stage("rest", self.rest)


class Named(Experiment):
    """Runs itself under a name so long that those of its children are shortened."""

    depth: int

    async def descend(self) -> int:
        return 1 + int(await Named(depth=self.depth - 1).run(name="n" * 90)) if self.depth else 0

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("descend", self.descend)


class Unhurried(Experiment):
    """Waits for an experiment that searches as long as it may."""

    depth: int = 1

    async def wait(self) -> int:
        if self.depth:
            return int(await Unhurried(depth=self.depth - 1).run(name="below"))
        one = LocalExecutor(max_parallel=1)
        search = SweepExperiment(pausing, X, metric="score", goal="maximize", name="all", executor=one)
        return len((await search.run()).trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("wait", self.wait)


class Changing(Experiment):
    """Runs something else under the same name when it is tried again."""

    folder: str
    fails: bool = False

    async def work(self) -> int:
        folder = Path(self.folder)
        is_again = (folder / "again").exists()
        (folder / "again").touch()
        objective = broken if self.fails and not is_again else train
        search = SweepExperiment(
            objective, X, metric="score", goal="maximize", name="same", seed=2 if is_again else 1
        )
        found = await search.run(budget=2)
        if not is_again:
            raise ValueError("once more")
        return len(found.trials)

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("work", self.work).through(retry=2)


class Leaving(Experiment):
    """A sweep that needs less than it asks for, and another one right behind it."""

    async def go(self) -> list[int]:
        one = LocalExecutor(max_parallel=1)
        first = await sweep(name="first", executor=one).run(budget=Budget(trials=10, target=-1.0))
        second = await sweep(name="second").run(budget=12)
        return [len(first.trials), len(second.trials)]

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("go", self.go)
