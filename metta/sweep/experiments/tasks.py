"""Tasks of a curriculum, and what became of them."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from metta.sweep.contracts.distribution import no_json
from metta.sweep.contracts.models import Edge, Wire, json_ready, unknown_name
from metta.sweep.contracts.wording import value_text

TASK = "task"
"""The parameter by which a trial is told its task; those of the task begin with it and a dot."""

INIT_FROM = "init_from"
"""The parameter by which a trial is told where the weights lie with which it is to begin."""


def tells_task(parameter: str) -> bool:
    """Whether a parameter tells a trial of its task, and is nothing that is searched."""
    return parameter in (TASK, INIT_FROM) or parameter.startswith(f"{TASK}.")


class Flowing(Wire):
    """What flows between stages as plain JSON: a newer program reads what an older one has recorded."""

    def __pack__(self) -> dict[str, Any]:
        """All of it."""
        return self.model_dump(mode="json")

    @classmethod
    def __unpack__(cls, packed: dict[str, Any], store: str) -> Self:
        """The value that was packed."""
        return cls.model_validate(packed)


def _plain(params: Any) -> Any:
    if problem := no_json(plain := json_ready(params)):
        raise ValueError(f"they have to be JSON, got {problem}")
    return plain


class Task(Flowing, Edge):
    """One step of a curriculum.

    Args:
        name: Its name, which no other task of the curriculum has.
        params: What makes it another task than the others, as plain JSON by name.
        mastery: Value of the metric from which on it counts as mastered; None means the curriculum's.
        trials: Trials of one round; None means the curriculum's.
    """

    name: str = Field(min_length=1)
    # JSON by contract, yet Any here, as in Trial: `task.params["degrees"] * 2` is to pass a type checker
    params: Annotated[dict[str, Any], BeforeValidator(_plain)] = Field(default_factory=dict)
    mastery: float | None = None
    trials: int | None = Field(default=None, ge=1)

    @property
    def constants(self) -> dict[str, Any]:
        """The parameters by which a trial is told of it.

        >>> Task(name="tilted", params={"degrees": 30}).constants
        {'task': 'tilted', 'task.degrees': 30}
        """
        return {TASK: self.name, **{f"{TASK}.{name}": value for name, value in self.params.items()}}


def _strict(tasks: Any) -> Any:
    """What people write in JSON may hold typos, as their arguments may."""
    written = [(n, task) for n, task in enumerate(tasks if isinstance(tasks, list | tuple) else ())]
    problems = [
        f"{n}: {problem}"
        for n, task in written
        for name in (task if isinstance(task, dict) else ())
        if (problem := unknown_name(name, Task.model_fields))
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return tasks


def _distinct(tasks: Sequence[Task]) -> tuple[Task, ...]:
    if problems := [*_problems(tasks)]:
        raise ValueError("\n".join(problems))
    return tuple(tasks)


def _problems(tasks: Sequence[Task]) -> Iterator[str]:
    if not tasks:
        yield 'there is none; give at least one, such as Task(name="first")'
    names = [task.name for task in tasks]
    for name in dict.fromkeys(names):
        if (count := names.count(name)) > 1:
            yield f"{count} are called {name!r}; give each a name of its own"


Tasks: TypeAlias = Annotated[Sequence[Task], BeforeValidator(_strict), AfterValidator(_distinct)]
"""Tasks in their order, each with a name of its own."""


class TaskResult(Flowing):
    """What became of a task so far.

    Args:
        task: Its name.
        mastered: Whether it counts as mastered.
        is_over: Whether it is left behind: mastered, or given up.
        score: The best value of the metric in all rounds; None when what was run gives none.
        params: The parameters that gave it, without those that say which task it is.
        metrics: All metrics of that trial.
        rounds: How often its budget was spent.
        trials: Trials of all rounds.
        sweeps: Names of the sweeps, one for each round that was one.
        checkpoint: The last checkpoint of that trial, where checkpoints are handed on.
    """

    task: str
    mastered: bool = False
    is_over: bool = False
    score: float | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    rounds: int = 0
    trials: int = 0
    sweeps: tuple[str, ...] = ()
    checkpoint: str | None = None

    def __str__(self) -> str:
        """One line for people."""
        score = "no score" if self.score is None else value_text(self.score)
        rounds = f" and {self.rounds} rounds" if self.rounds > 1 else ""
        trials = "1 trial" if self.trials == 1 else f"{self.trials} trials"
        return f"{self.task}: {score} after {trials}{rounds}, {'' if self.mastered else 'not '}mastered"


class CurriculumContext(Flowing):
    """How far a curriculum is: what flows through it, and what it gives.

    Args:
        tasks: All tasks in their order.
        current_stage: So many tasks have been left behind.
        current_task: The task at hand, or the last one.
        results: What became of each task that was begun, by its name; the one that ran last comes last.
        is_stopped: Whether it ended before the last task, because one was not mastered.
    """

    tasks: tuple[Task, ...]
    current_stage: int = 0
    current_task: Task | None = None
    results: dict[str, TaskResult] = Field(default_factory=dict)
    is_stopped: bool = False

    @property
    def is_mastered(self) -> bool:
        """Whether all tasks are mastered."""
        return all(task.name in self.mastered for task in self.tasks)

    @property
    def mastered(self) -> list[str]:
        """Names of the tasks that are mastered."""
        return [name for name, result in self.results.items() if result.mastered]

    @property
    def remaining(self) -> list[Task]:
        """The tasks that were not left behind yet, in their order."""
        return [task for task in self.tasks if not self.result_of(task).is_over]

    @property
    def trials(self) -> int:
        """Trials of all tasks."""
        return sum(result.trials for result in self.results.values())

    @property
    def last(self) -> TaskResult | None:
        """What became of the task that ran last."""
        return next(reversed(self.results.values()), None)

    def result_of(self, task: Task) -> TaskResult:
        """What became of a task so far; an empty result before its first round has ended."""
        return self.results.get(task.name, TaskResult(task=task.name))

    def with_result(self, result: TaskResult) -> "CurriculumContext":
        """The same after a round of a task."""
        others = {name: before for name, before in self.results.items() if name != result.task}
        results = {**others, result.task: result}
        behind = sum(result.is_over for result in results.values())
        return self.model_copy(update={"results": results, "current_stage": behind})

    def summary(self) -> dict[str, Any]:
        """The counts, and what became of each task, as plain JSON."""
        return {
            "tasks": len(self.tasks),
            "mastered": len(self.mastered),
            "trials": self.trials,
            "results": [result.model_dump(mode="json") for result in self.results.values()],
        }

    def __str__(self) -> str:
        """A line for the whole, and one for each task that was begun."""
        head = f"{len(self.mastered)} of {len(self.tasks)} tasks mastered in {self.trials} trials"
        return "\n".join([head, *(f"  {result}" for result in self.results.values())])

    def __repr__(self) -> str:
        return f"CurriculumContext({'; '.join(line.strip() for line in str(self).splitlines())})"
