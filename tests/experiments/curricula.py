"""Curricula, and what their trials do."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metta.sweep import Budget, Choice, Constant, LogUniform, Trial, Uniform
from metta.sweep.contracts.distributions import Distribution
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import CurriculumContext, CurriculumExperiment, Experiment, SweepExperiment, Task
from metta.sweep.experiments.base import Pipeline
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer
from metta.sweep.schedulers import BatchScheduler, Scheduler


def lean(degrees: float, x: float) -> float:
    """The best x lies a little higher with each degree."""
    return 1 - abs(x - 0.3 - degrees / 100)


def train(trial: Trial) -> dict[str, float]:
    return {"accuracy": lean(trial.params["task.degrees"], trial.params["x"])}


def tilted(*degrees: int, **options: Any) -> list[Task]:
    return [Task(name=f"tilted {d}", params={"degrees": d}, **options) for d in degrees]


X = {"x": Uniform(0.0, 1.0)}
RATE = {"rate": LogUniform(0.05, 0.2)}


class Tilted(CurriculumExperiment):
    objective = train
    search_space = X
    metric = "accuracy"
    tasks = tilted(0, 20, 40)
    mastery = 0.9
    trials_per_task = 30
    seed = 3
    executor = LocalExecutor(max_parallel=1)


class Various(Tilted):
    """Says something else for each task."""

    def optimizer_for_task(self, task: Task) -> Optimizer:
        return RandomOptimizer() if task.params["degrees"] == 0 else OptunaOptimizer(sampler="TPE")

    def scheduler_for_task(self, task: Task) -> Scheduler | None:
        return BatchScheduler(2) if task.params["degrees"] == 20 else None

    def space_for_task(self, task: Task) -> Mapping[str, Distribution]:
        if task.params["degrees"] < 40:
            return super().space_for_task(task)
        return {**super().space_for_task(task), "x": Uniform(0.5, 1.0), "model": Choice(["small", "large"])}

    def budget_for_task(self, task: Task) -> Budget:
        return Budget(trials=5)

    def is_mastered(self, task: Task, results: Any) -> bool:
        return len(results.trials) == 5


def learn(trial: Trial) -> None:
    """Weights are a number that gets nearer to the task by each step; they are handed on."""
    begin, weight = trial.resume_from or trial.params["init_from"], 0.0
    if begin:
        weight = json.loads(Path(begin).read_text())
    for step in range(1, 4):
        weight += trial.params["rate"] * (trial.params["task.aim"] - weight)
        file = trial.checkpoint_dir / f"{step}.json"
        file.write_text(json.dumps(weight))
        trial.report(step=step, error=abs(weight - trial.params["task.aim"]), checkpoint=file)


class Carrying(CurriculumExperiment):
    objective = learn
    search_space = RATE
    metric = "error"
    tasks = (Task(name="near", params={"aim": 1.0}), Task(name="far", params={"aim": 1.5}))
    mastery = 0.4
    trials_per_task = 3
    max_rounds = 9
    hand_on_weights = True
    seed = 1
    executor = LocalExecutor(max_parallel=1)


class Leaning(Experiment):
    """An experiment that is a task, or an objective."""

    degrees: float
    x: float = 0.6

    def score(self) -> dict[str, float]:
        return {"accuracy": lean(self.degrees, self.x)}

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("score", self.score)


class Nesting(CurriculumExperiment):
    """Runs an experiment, a curriculum and a number."""

    tasks = (*tilted(20), Task(name="below"), Task(name="number", mastery=0.4))
    metric = "accuracy"
    mastery = 0.8

    def run_task(self, task: Task, ctx: CurriculumContext) -> Any:
        if task.name == "number":
            return 0.5
        if task.name == "below":
            return Tilted().run()
        return Leaning(degrees=task.params["degrees"]).run()


class Backwards(Tilted):
    """Begins with the last task."""

    def select_task(self, ctx: CurriculumContext) -> Task:
        return ctx.remaining[-1]


class Interleaved(Tilted):
    """Takes turns, and gives up after two of them."""

    trials_per_task = 2
    max_rounds = 2
    unmastered = "go_on"

    def select_task(self, ctx: CurriculumContext) -> Task:
        return min(ctx.remaining, key=lambda task: ctx.result_of(task).rounds)


class Tried(CurriculumExperiment):
    """Its objective is an experiment, whose field the task is."""

    objective = Leaning
    search_space = X
    metric = "accuracy"
    tasks = tilted(0, 20)
    mastery = 0.8
    seed = 3
    executor = LocalExecutor(max_parallel=1)

    def space_for_task(self, task: Task) -> Mapping[str, Distribution]:
        assert isinstance(self.search_space, Mapping)
        return {**self.search_space, "degrees": Constant(task.params["degrees"])}


@dataclass
class Ran:
    """What a stage of a hand-made curriculum returns."""

    current_stage: int
    results: dict[str, float]


class HandMade(Experiment):
    """The same loop, written by hand."""

    degrees: list[int]

    def begin(self) -> tuple[list[Task], int, dict[str, float]]:
        return tilted(*self.degrees), 0, {}

    def select(self, tasks: list[Task], current_stage: int) -> Task:
        return tasks[current_stage]

    async def execute_task_sweep(
        self, current_task: Task, current_stage: int, results: dict[str, float]
    ) -> Ran:
        constants = {name: Constant(value) for name, value in current_task.constants.items()}
        sweep = SweepExperiment(train, {**X, **constants}, metric="accuracy", seed=1)
        found = await sweep.run(budget=4)
        return Ran(current_stage + 1, {**results, current_task.name: found.best_metric})

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline()
            .stage("begin", self.begin)
            .through(tasks=list[Task], current_stage=int, results=dict)
            .loop_while(lambda ctx: ctx.current_stage < len(ctx.tasks))
            .stage("select", self.select)
            .through(current_task=Task)
            .stage("run", self.execute_task_sweep)
            .through(results=dict)
            .end_loop()
        )
