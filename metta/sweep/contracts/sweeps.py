"""Sweeps: the definition, the input and the result of the workflow, and what can be asked of it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.components import Component, ComponentSpec
from metta.sweep.contracts.distributions import same
from metta.sweep.contracts.errors import SpaceError, shown
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.metrics import Goal
from metta.sweep.contracts.models import Wire, Written
from metta.sweep.contracts.objective_specs import ObjectiveSpec, definition_of, name_of
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Resources

SEARCH_ATTRIBUTES = {
    "SweepStatus": "Keyword",
    "SweepBest": "Double",
    "SweepTrials": "Int",
    "SweepMetric": "Keyword",
}
"""What lists of sweeps can be filtered by in Temporal."""

SESSION_EXECUTORS = ("local",)
"""Executors that run Python objectives in the processes of a session."""

TrialStatus: TypeAlias = Literal["running", "paused", "completed", "failed", "stopped"]


def _space(data: Any, handler: ValidatorFunctionWrapHandler) -> SearchSpace:
    """Turns a space's own error into a ValueError, so that it is told along with the other mistakes."""
    try:
        return SearchSpace.of(handler(data))
    except SpaceError as error:
        raise ValueError("\n".join(error.problems)) from None


def _list(hint: str, single: type | None = None) -> BeforeValidator:
    """Tells what to write instead of something that is no list; one value of a kind may stand for a list."""

    def listed(data: Any) -> Any:
        if single and isinstance(data, single):
            return (data,)
        if isinstance(data, list | tuple):
            return data
        raise ValueError(f"write {hint}, got {shown(data)}")

    return BeforeValidator(listed)


_Points: TypeAlias = Annotated[
    tuple[dict[str, JsonValue], ...], _list('a list of points, such as [{"lr": 0.1}]')
]
_Sources: TypeAlias = Annotated[
    tuple[str, ...], _list("the name of a sweep, the path of a ledger, or a list of them", single=str)
]


class SweepSpec(Wire):
    """What a sweep is: everything that stays the same while it runs.

    Args:
        objective: Reference to what is to be tried: ``package.module:function``, ``script.py:function``; or
            a program that is a job; ``script.py`` alone is one, too; or an experiment, whose fields the
            parameters are.
        search_space: Where to search.
        optimizer: What to try next.
        scheduler: How long, and when.
        executor: Where trials run.
        metric: The metric that counts; None takes the only one returned.
        goal: Its direction; None goes by its name.
        seed: Seed of all decisions; None derives it from the sweep's id.
        retry: How often a failed trial is tried again.
        timeout: Longest run of one attempt in seconds.
        resources: What each trial needs.
        max_failures: So many failures without a single success end the sweep.
        initial_points: What the first trials try; parameters that a point does not name are drawn.
        warm_start: What the optimizer knows before the first trial: names of sweeps in the same store, paths
            of ledgers, ``value:<hash>`` for observations in the store. It matters only when a sweep begins,
            for what was known then is recorded.
    """

    objective: ObjectiveSpec
    search_space: Annotated[SearchSpace, WrapValidator(_space)]
    optimizer: Component = ComponentSpec(type="random")
    scheduler: Component = ComponentSpec(type="asynchronous")
    executor: Component = ComponentSpec(type="local")
    metric: str | None = None
    goal: Goal | None = None
    seed: int | None = None
    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = Field(default=None, gt=0)
    resources: Resources = Field(default=Resources(), validate_default=True)
    max_failures: int = Field(default=5, ge=1)
    initial_points: _Points = ()
    warm_start: _Sources = ()

    @field_validator("executor")
    @classmethod
    def _runs_the_objective(cls, executor: ComponentSpec, info: ValidationInfo) -> ComponentSpec:
        is_experiment = isinstance(info.data.get("objective"), ExperimentSpec)
        if is_experiment and executor.type not in SESSION_EXECUTORS:
            raise ValueError(
                "the objective is an experiment, whose stages run on the workers of the sweep's queue,"
                f" not where {executor.type!r} runs trials: leave the executor out, or give"
                " LocalExecutor(max_parallel=N) for N trials at the same time"
            )
        return executor

    @field_validator("resources")
    @classmethod
    def _can_grow(cls, resources: Resources, info: ValidationInfo) -> Resources:
        retry, scheduler = info.data.get("retry"), info.data.get("scheduler")
        if isinstance(info.data.get("objective"), ExperimentSpec):
            if resources != Resources() or (retry and retry.on_oom == "grow"):
                raise ValueError(
                    "the objective is an experiment, and its stages are given what their workers have:"
                    ' leave resources and on_oom="grow" out'
                )
            return resources
        if retry is None or scheduler is None or retry.on_oom != "grow":
            return resources
        given_gib = resources.memory_gib
        if given_gib is None and ":" not in scheduler.type:  # one of the user's may say it trial by trial
            raise ValueError('say memory_gib: retry has on_oom="grow", and there is nothing to grow')
        if given_gib and retry.grown_gib(given_gib) is None:
            limit = f"retry has max_memory_gib={retry.max_memory_gib:g}"
            raise ValueError(f"memory_gib has to leave room to grow, got {given_gib:g}, and {limit}")
        return resources

    @property
    def lane(self) -> Literal["session", "job"]:
        """How trials run: in processes of a session that a worker hosts, or as jobs that outlive workers."""
        is_hosted = isinstance(self.objective, str) and self.executor.type in SESSION_EXECUTORS
        return "session" if is_hosted else "job"

    @property
    def objective_name(self) -> str:
        """The objective for people."""
        return name_of(self.objective)

    @field_validator("initial_points")
    @classmethod
    def _in_the_space(
        cls, points: tuple[dict[str, JsonValue], ...], info: ValidationInfo
    ) -> tuple[dict[str, JsonValue], ...]:
        space = info.data.get("search_space")  # which may have mistakes of its own
        if problems := [] if space is None else [*_outside(space, points)]:
            raise ValueError("\n".join(problems))
        return points

    def differences(self, other: "SweepSpec") -> list[str]:
        """What another definition searches differently, one sentence each.

        How trials are run (executor, resources, timeout, retries) may change from one session to the
        next, and a metric or goal that was left open may be said later. Earlier sweeps that it was begun
        with may have gone on.
        """
        mine, theirs = self._searched(), other._searched()
        for name in ("metric", "goal"):
            theirs[name] = mine[name] and theirs[name]
        found = [*_differences("", mine, theirs)]
        if not found and self.search_space != other.search_space:  # it decides what a seed draws
            return ["search_space has its parameters in another order"]
        return found

    def _searched(self) -> dict[str, JsonValue]:
        fields = {"search_space", "optimizer", "scheduler", "metric", "goal", "seed", "initial_points"}
        return {"objective": definition_of(self.objective), **self.model_dump(mode="json", include=fields)}


def _outside(space: SearchSpace, points: tuple[dict[str, JsonValue], ...]) -> Iterator[str]:
    """What is wrong with initial points."""
    for number, point in enumerate(points):
        try:
            space.validate(point, partial=True)
        except SpaceError as error:
            yield from (f"point {number}: {problem}" for problem in error.problems)


def _differences(path: str, mine: JsonValue, theirs: JsonValue) -> Iterator[str]:
    """What differs at the leaves of two JSON values."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name in dict.fromkeys([*mine, *theirs]):
            where = f"{path}.{name}" if path else name
            if name not in theirs:
                yield f"{where} was {mine[name]!r} and is now gone"
            elif name not in mine:
                yield f"{where} is new: {theirs[name]!r}"
            else:
                yield from _differences(where, mine[name], theirs[name])
    elif not same(mine, theirs):
        yield f"{path} was {mine!r} and is now {theirs!r}"


class Row(Wire):
    """A trial on the leaderboard, best first."""

    trial: int
    value: float
    step: int | None = None
    status: TrialStatus = "completed"
    params: dict[str, JsonValue] = Field(default_factory=dict)


class Counts(Wire):
    """Trials by what became of them."""

    started: int = 0
    running: int = 0
    paused: int = 0
    completed: int = 0
    failed: int = 0
    stopped: int = 0


class Progress(Wire):
    """How far a sweep is.

    Args:
        best: The best trials; None in a signal says that they are those of the signal before.
        elapsed_s: Time in which a session worked on it.
        metric: The metric that counts, once known.
        note: What it is waiting for, such as room on the disk; empty when it is not.
        warnings: What people had better know, though the sweep goes on.
        failed_attempts: How many attempts failed, by kind of failure.
        retried: How many of them were tried again.
    """

    counts: Counts = Counts()
    best: tuple[Row, ...] | None = ()
    elapsed_s: float = 0.0
    metric: str | None = None
    goal: Goal | None = None
    note: str = ""
    warnings: tuple[str, ...] = ()
    # kinds that a newer program knows are counted, too
    failed_attempts: dict[str, int] = Field(default_factory=dict)
    retried: int = 0


class SweepInput(SweepSpec, Written):
    """Input of the workflow ``Sweep``; plain JSON of these fields starts one from any Temporal client.

    Args:
        budget: Limits to begin with; a number is a number of trials.
        resume: Whether a sweep of this id may exist already and is then continued.
        control: The control in force, when this run continues an earlier one.
        progress: How far that one was.
        lane_state: Where that one left off, when its trials are jobs.
        granted: Whether the budget is a share of that of the experiment that it runs within.
    """

    subject = "the sweep's JSON"

    budget: Budget = Budget()
    resume: bool = False
    control: Control | None = None
    progress: Progress = Progress()
    lane_state: dict[str, JsonValue] | None = None
    granted: bool = False

    @property
    def spec(self) -> SweepSpec:
        """The definition alone."""
        return SweepSpec.model_construct(**{name: getattr(self, name) for name in SweepSpec.model_fields})


class SessionInput(Wire):
    """Input of ``run_search_session``."""

    sweep_id: str
    spec: SweepSpec
    control: Control
    resume: bool = False


class SessionResult(Wire):
    """How a session ended, and the control it had applied by then."""

    progress: Progress
    reason: str
    message: str = ""
    control: Control
    ledger: str


SweepState: TypeAlias = Literal["running", "paused", "stopping", "finished", "failed", "cancelled"]

ENDED: frozenset[SweepState] = frozenset(["finished", "failed", "cancelled"])


class SweepStatus(Wire):
    """Answer of the query ``status``; ``notice`` tells of a signal that was refused."""

    state: SweepState
    progress: Progress = Progress()
    control: Control = Control()
    reason: str = ""
    notice: str = ""


class SweepResult(Wire):
    """Result of the workflow ``Sweep``; all trials stand in the ledger at ``ledger``."""

    sweep_id: str
    reason: str
    ledger: str
    progress: Progress
