"""Tasks of a curriculum, and what became of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue

from metta.sweep.contracts.models import Edge, Wire, json_ready
from metta.sweep.contracts.reports import finite_number
from metta.sweep.contracts.wording import value_text

TASK = "task"
"""The parameter by which a trial is told its task; those of the task begin with it and a dot."""


class Task(Edge):
    """One step of a curriculum.

    Args:
        name: Its name, which no other task of the curriculum has.
        params: What makes it another task than the others, as plain JSON by name.
        mastery: Value of the metric from which on it counts as mastered; None means the curriculum's.
        trials: Trials of one round; None means the curriculum's.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    params: Annotated[dict[str, JsonValue], BeforeValidator(json_ready)] = Field(default_factory=dict)
    mastery: float | None = None
    trials: int | None = Field(default=None, ge=1)

    @property
    def constants(self) -> dict[str, JsonValue]:
        """The parameters by which a trial is told of it.

        >>> Task(name="tilted", params={"degrees": 30}).constants
        {'task': 'tilted', 'task.degrees': 30}
        """
        return {TASK: self.name, **{f"{TASK}.{name}": value for name, value in self.params.items()}}


def _tasks(tasks: Sequence[Task]) -> Sequence[Task]:
    if problems := [*_problems(tasks)]:
        raise ValueError("\n".join(problems))
    return tasks


def _problems(tasks: Sequence[Task]) -> Iterator[str]:
    if not tasks:
        yield 'there is none; give at least one, such as Task(name="first")'
    names = [task.name for task in tasks]
    for name in dict.fromkeys(names):
        if (count := names.count(name)) > 1:
            yield f"{count} are called {name!r}; give each a name of its own"


Tasks: TypeAlias = Annotated[list[Task], AfterValidator(_tasks)]
"""Tasks in their order, each with a name of its own."""


class TaskResult(Wire):
    """What became of a task so far.

    Args:
        task: Its name.
        mastered: Whether it counts as mastered.
        score: The best value of the metric in all rounds; None when what was run gives none.
        params: The parameters that gave it, without those that say which task it is.
        metrics: All metrics of that trial.
        rounds: How often its budget was spent.
        trials: Trials of all rounds.
        sweeps: Names of the sweeps, one for each round that was one.
    """

    task: str
    mastered: bool = False
    score: float | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    rounds: int = 0
    trials: int = 0
    sweeps: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for people."""
        score = "no score" if self.score is None else value_text(self.score)
        rounds = f" and {self.rounds} rounds" if self.rounds > 1 else ""
        trials = "1 trial" if self.trials == 1 else f"{self.trials} trials"
        return f"{self.task}: {score} after {trials}{rounds}, {'' if self.mastered else 'not '}mastered"


class CurriculumContext(Wire):
    """How far a curriculum is: what flows through it, and what it gives.

    Args:
        tasks: All tasks in their order.
        current_stage: So many tasks have been left behind.
        current_task: The task at hand, or the last one.
        results: What became of each task that was begun, by its name and in the order of their beginnings.
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
    def trials(self) -> int:
        """Trials of all tasks."""
        return sum(result.trials for result in self.results.values())

    @property
    def last(self) -> TaskResult | None:
        """What became of the task that was begun last."""
        return next(reversed(self.results.values()), None)

    def result_of(self, task: Task) -> TaskResult:
        """What became of a task so far; an empty result before its first round has ended."""
        return self.results.get(task.name, TaskResult(task=task.name))

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


class Round(NamedTuple):
    """What was found in one round of a task.

    Args:
        score: Value of the metric that counts; None when there is none.
        params: The parameters that gave it.
        metrics: All metrics beside it.
        trials: How many trials it took.
        sweep: Name of the sweep, if it was one.
    """

    score: float | None
    params: Mapping[str, Any] = {}
    metrics: Mapping[str, float] = {}
    trials: int = 1
    sweep: str | None = None

    def added_to(self, result: TaskResult, *, is_better: bool, mastered: bool) -> TaskResult:
        """What became of a task with this round, too."""
        best: dict[str, Any] = {}
        if is_better:
            params = {n: v for n, v in self.params.items() if n != TASK and not n.startswith(f"{TASK}.")}
            best = {"score": self.score, "params": params, "metrics": dict(self.metrics)}
        counted = {
            "mastered": mastered,
            "rounds": result.rounds + 1,
            "trials": result.trials + self.trials,
            "sweeps": (*result.sweeps, self.sweep) if self.sweep else result.sweeps,
        }
        return result.model_copy(update={**best, **counted})


def score_in(found: Any, metric: str | None, fields: Mapping[str, Any] | None) -> float | None:
    """The value of the metric in what something gave that was no sweep; None when there is none.

    Args:
        found: What it gave.
        metric: The metric that counts.
        fields: Its fields, if it has any.

    Raises:
        BadMetric: When the value is no finite number.
    """
    value = found if fields is None else fields.get(metric or "")
    return None if value is None else finite_number(metric or "the score", value)
