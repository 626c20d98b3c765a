"""The curriculum: tasks one after the other, and a sweep for each until it is mastered."""

import re
from collections.abc import Iterator, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, JsonValue

from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.distributions import Constant, Distribution
from metta.sweep.contracts.errors import DefinitionError, SweepFailed
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.importing import is_importing_names
from metta.sweep.contracts.metrics import Goal
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Resources
from metta.sweep.experiments.arguments import (
    ExecutorField,
    ObjectiveField,
    OptimizerField,
    SchedulerField,
    SpaceField,
    space_in,
    tried,
)
from metta.sweep.experiments.defaults import with_defaults
from metta.sweep.experiments.experiment import Experiment
from metta.sweep.experiments.learning import first_points, learnt
from metta.sweep.experiments.rounds import Round, round_of
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.experiments.tasks import INIT_FROM, CurriculumContext, Task, TaskResult, Tasks
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.schedulers.base import Scheduler

NAME_CHARS = 80

Count: TypeAlias = Annotated[int, Field(ge=1)]
"""Not told at the field: there it would not hold for what subclasses set."""

ALIKE = ("executor", "metric", "goal", "retry", "timeout", "resources")
"""Arguments of the sweeps of all tasks."""

NEEDED = {
    "objective": "give a function of a trial, a reference, a Job, or an Experiment",
    "search_space": 'give distributions by name, such as {"lr": LogUniform(1e-4, 1e-1)}',
    "metric": "give the name of the metric that counts, for mastery is a value of it",
}
"""What a sweep for each task is made of, and what to write where it is missing."""


class CurriculumExperiment(Experiment):
    """Masters tasks one after the other: a sweep for each, which begins with what was learnt before.

    ::

        class Digits(CurriculumExperiment):
            objective = train
            search_space = {"lr": LogUniform(1e-4, 1e-1)}
            metric = "accuracy"
            tasks = [Task(name=f"tilted-{d}", params={"degrees": d}) for d in (0, 15, 30)]
            mastery = 0.9

        results = Digits(trials_per_task=20).run(name="digits")

    All of these are fields: give them as arguments, or set them in a subclass. A trial is told of its task by
    its parameters: ``task`` is the name, ``task.degrees`` what ``params`` says there.

    A round of a task is a sweep of its own, a part of the curriculum, which ends when the task is mastered or
    the trials are used up; then there is another round. Methods with ``task`` in their names may be
    overridden, to say for each task what is to be different.

    Args:
        tasks: The tasks in their order.
        objective: As that of a ``SweepExperiment``. So are ``search_space``, ``metric``, ``goal``,
            ``optimizer``, ``scheduler``, ``executor``, ``retry``, ``timeout`` and ``resources``.
        mastery: Value of the metric at which a task counts as mastered, and its sweep ends; None lets any
            value do, once the trials are used up.
        trials_per_task: Trials of one round.
        max_rounds: So many rounds a task may take.
        unmastered: What happens when it is not mastered then: ``"stop"`` ends the curriculum, ``"go_on"``
            goes on with the next task, ``"fail"`` fails.
        warm_start: Whether optimizers begin with the trials of all rounds before, and the first trial of a
            task with the best parameters of the task before.
        hand_on_weights: Whether a trial is told by its parameter ``init_from`` where the last checkpoint lies
            of the best trial of the task that ran last, to go on from that; None in the first round. It
            takes a store that is a folder.
        seed: Seed of all randomness; None derives it from the name of the curriculum.

    Raises:
        DefinitionError: At construction, with every mistake.
    """

    tasks: Tasks = ()
    objective: ObjectiveField = None
    search_space: SpaceField = None
    metric: str | None = None
    goal: Goal | None = None
    mastery: float | None = None
    trials_per_task: Count = 20
    max_rounds: Count = 3
    unmastered: Literal["stop", "go_on", "fail"] = "stop"
    warm_start: bool = True
    hand_on_weights: bool = False
    seed: int | None = None
    optimizer: OptimizerField = None
    scheduler: SchedulerField = None
    executor: ExecutorField = None
    retry: RetryPolicy | int | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    resources: Resources | None = None

    if not TYPE_CHECKING:  # the checkers are to see the fields as arguments, not this signature

        def __init__(self, *args: object, **fields: object) -> None:
            problems = [*_all_missing(type(self), fields)]
            try:
                super().__init__(*args, **fields)
            except DefinitionError as error:
                problems += error.problems
            else:
                problems = problems or [*self._mistakes()]
            if problems:
                raise DefinitionError(list(dict.fromkeys(problems)), type(self).__name__)

    def pipeline(self) -> Pipeline[CurriculumContext]:
        """Select a task, run a round of it, and so on until all are left behind."""
        return (
            Pipeline()
            .stage("begin", self._begin)
            .through(CurriculumContext)
            .loop_while(self._goes_on)
            .stage("select", self._select)
            .through(CurriculumContext)
            .stage("run", self.execute_task_sweep)
            .through(CurriculumContext, log=_line, metrics=_numbers)
            .end_loop()
        )

    async def execute_task_sweep(self, ctx: CurriculumContext) -> CurriculumContext:
        """The stage that runs a round of the task at hand.

        Raises:
            SweepFailed: When the task is not mastered in its last round, and that is to fail.
        """
        task = ctx.current_task
        assert task is not None
        running = self.run_task(task, ctx)
        found = await running if isawaitable(running) else running
        mastered = bool(self.is_mastered(task, found))
        result = self._round(found).added_to(ctx.result_of(task), mastered=mastered)
        is_last = not mastered and result.rounds >= self.max_rounds
        if is_last and self.unmastered == "fail":
            raise SweepFailed(f"{result}, and {self.max_rounds} rounds are all it may take")
        is_over = mastered or (is_last and self.unmastered == "go_on")
        after = ctx.with_result(result.model_copy(update={"is_over": is_over}))
        return after.model_copy(update={"is_stopped": is_last and not is_over})

    # --- what subclasses may say for each task ---

    def select_task(self, ctx: CurriculumContext) -> Task:
        """The task of the next round; the first one that was not left behind yet."""
        return ctx.remaining[0]

    def optimizer_for_task(self, task: Task) -> Optimizer | ComponentSpec | None:
        """What to try at a task; None draws at random."""
        return self.optimizer

    def scheduler_for_task(self, task: Task) -> Scheduler | ComponentSpec | None:
        """How long, and when; None fills each free slot at once."""
        return self.scheduler

    def space_for_task(self, task: Task) -> Mapping[str, Distribution]:
        """What is searched at a task; its constants ``task`` and ``task.*`` tell a trial which one it is.

        Raises:
            DefinitionError: When a parameter of the space is called like one of these.
        """
        space = self.search_space or space_in(self.optimizer_for_task(task))
        if space is None:
            raise DefinitionError([_missing("search_space")])
        return _with_constants(space, task.constants)

    def budget_for_task(self, task: Task) -> Budget:
        """Limits of one round: its trials, and its mastery as the target."""
        return Budget(trials=task.trials or self.trials_per_task, target=self.mastery_of_task(task))

    def mastery_of_task(self, task: Task) -> float | None:
        """Value of the metric at which a task counts as mastered."""
        return self.mastery if task.mastery is None else task.mastery

    def is_mastered(self, task: Task, results: Any) -> bool:
        """Whether a task is mastered after a round.

        Args:
            task: The task.
            results: What ``run_task`` gave: the results of a sweep, unless that is overridden.
        """
        if isinstance(results, CurriculumContext):
            return results.is_mastered
        return self._round(results).reaches(self.mastery_of_task(task))

    def run_task(self, task: Task, ctx: CurriculumContext) -> Any:
        """Run a round of a task.

        Override it to run something else than a sweep: ``return Refine(...).run()``. What it gives has to be
        results, a number, a value with a field that is called like the metric, or a curriculum's context.

        Args:
            task: The task.
            ctx: How far the curriculum is.

        Returns:
            Something to await, or the value itself.
        """
        return self.sweep_for_task(task, ctx).run()

    def sweep_for_task(self, task: Task, ctx: CurriculumContext) -> SweepExperiment:
        """The sweep of one round.

        Args:
            task: The task.
            ctx: How far the curriculum is.

        Raises:
            DefinitionError: With every mistake.
        """
        n = ctx.result_of(task).rounds + 1
        given: dict[str, Any] = {
            "optimizer": self.optimizer_for_task(task),
            "scheduler": self.scheduler_for_task(task),
            **{name: getattr(self, name) for name in ALIKE},
        }
        space = self.space_for_task(task)
        if self.hand_on_weights:
            space = _with_constants(space, {INIT_FROM: ctx.last.checkpoint if ctx.last else None})
        space = SearchSpace.of(space)
        if self.seed is not None:
            given["seed"] = derived_seed(self.seed, n, f"task/{task.name}")
        if self.warm_start and ctx.results:
            given["warm_start"] = learnt(ctx, space) or None
            given["initial_points"] = first_points(ctx, task, space) or None
        return SweepExperiment(
            tried(self.objective),
            space,
            name=f"{_slug(task.name)}-round-{n}",
            budget=self.budget_for_task(task),
            **given,
        )

    # --- inside ---

    def _begin(self) -> CurriculumContext:
        return CurriculumContext(tasks=tuple(self.tasks))

    def _goes_on(self, ctx: CurriculumContext) -> bool:
        return bool(ctx.remaining) and not ctx.is_stopped

    def _select(self, ctx: CurriculumContext) -> CurriculumContext:
        return ctx.model_copy(update={"current_task": self.select_task(ctx)})

    def _round(self, found: Any) -> Round:
        return round_of(found, self.metric, self.goal, weights=self.hand_on_weights)

    def _mistakes(self) -> Iterator[str]:
        """What is wrong with the sweeps of its tasks; what is wrong with all of them is told once."""
        if _is_own(type(self), "run_task") or is_importing_names():
            return
        found: dict[str, list[str]] = {}
        for task in self.tasks:
            try:
                self.sweep_for_task(task, self._begin())
            except DefinitionError as error:
                for problem in error.problems:
                    found.setdefault(problem, []).append(task.name)
        for problem, names in found.items():
            yield problem if len(names) == len(self.tasks) else f"task {', '.join(names)}: {problem}"


def _all_missing(kind: type[CurriculumExperiment], fields: Mapping[str, object]) -> Iterator[str]:
    """What the sweeps of tasks need, and nobody says, though no method of a subclass could."""
    if is_importing_names() or _is_own(kind, "run_task") or _is_own(kind, "sweep_for_task"):
        return
    given = {name: fields.get(name, getattr(kind, name)) for name in (*NEEDED, "optimizer")}
    try:
        said = with_defaults(given)
    except DefinitionError as error:  # the project's own defaults are wrong
        yield from error.problems
        return
    if any(_is_own(kind, f"{what}_for_task") for what in ("space", "optimizer")) or _has_space(said):
        said["search_space"] = {}
    yield from (_missing(name) for name in NEEDED if said.get(name) is None)


def _has_space(said: Mapping[str, object]) -> bool:
    try:
        return space_in(said.get("optimizer")) is not None
    except DefinitionError:  # which is told along with other mistakes
        return True


def _missing(name: str) -> str:
    return f"{name} is missing; {NEEDED[name]}"


def _is_own(kind: type[CurriculumExperiment], method: str) -> bool:
    """Whether a subclass has a method of its own."""
    return getattr(kind, method) is not getattr(CurriculumExperiment, method)


def _with_constants(
    space: Mapping[str, Distribution], constants: Mapping[str, JsonValue]
) -> Mapping[str, Distribution]:
    """A space with parameters by which trials are told something."""
    if taken := [name for name in constants if name in space]:
        problem = (
            f"search_space: {' and '.join(taken)} tells a trial of its task; call the parameter otherwise"
        )
        raise DefinitionError([problem])
    return {**space, **{name: Constant(value) for name, value in constants.items()}}


def _slug(name: str) -> str:
    """A task's name as part of the name of its sweeps.

    >>> _slug("3 tables, 40% blurred")
    '3-tables-40-blurred'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:NAME_CHARS] or "task"


def _line(ctx: CurriculumContext) -> str:
    return str(_at_hand(ctx))


def _numbers(ctx: CurriculumContext) -> dict[str, float]:
    result = _at_hand(ctx)
    score = {} if result.score is None else {"score": result.score}
    return {**score, "trials": result.trials, "mastered": int(result.mastered)}


def _at_hand(ctx: CurriculumContext) -> TaskResult:
    assert ctx.current_task is not None
    return ctx.result_of(ctx.current_task)
