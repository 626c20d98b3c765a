"""Experiments that want more than they may spend, at two levels: sweeps side by side, and one behind them."""

import asyncio

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline
from tests.crash import training


def sweep(name: str) -> SweepExperiment:
    return SweepExperiment(
        training.train,
        training.SPACE,
        metric="loss",
        name=name,
        seed=7,
        executor=LocalExecutor(max_parallel=2),
    )


class Pair(Experiment):
    """Two sweeps side by side, each of which wants so many trials."""

    each: int

    async def both(self) -> list[int]:
        found = await asyncio.gather(*(sweep(name).run(budget=self.each) for name in ("left", "right")))
        return [len(results.trials) for results in found]

    def pipeline(self) -> Pipeline[list[int]]:
        return Pipeline().stage("both", self.both)


class Grants(Experiment):
    """A pair that may spend less than it wants, and a sweep that wants more than is left."""

    each: int

    async def pair(self) -> list[int]:
        found: list[int] = await Pair(each=self.each).run(name="pair", budget=self.each + self.each // 2)
        return found

    async def rest(self, spent: list[int]) -> list[int]:
        return [*spent, len((await sweep("rest").run(budget=2 * self.each)).trials)]

    def pipeline(self) -> Pipeline[list[int]]:
        return Pipeline().stage("pair", self.pair).stage("rest", self.rest)
