"""Plans: a pipeline as plain data, and how far a run of it has come."""

from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel, Field

from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.values import Value

V = TypeVar("V")

StageFailureKind: TypeAlias = Literal[
    "user",  # the stage raised
    "oom",  # it ran out of memory
    "timeout",  # it took longer than its timeout
    "infeasible",  # it raised Infeasible: its input makes no sense
    "refused",  # what it wanted to run is defined wrongly, or nothing is left of a budget for it
    "contract",  # it got or gave something that does not fit
    "validation",  # a validation hook refused what it gave
    "hook",  # a hook that may change data or control failed
    "loop",  # a loop did not end within its max_iterations
]
"""Why a stage failed."""

StageStatus: TypeAlias = Literal["done", "skipped", "cached", "recovered"]
"""How a stage ended well."""


class At(NamedTuple):
    """Which run of which step: its path in the pipeline, and the turns of the loops around it.

    >>> str(At("refine/train", (2, 0)))
    'refine/train[2,0]'
    """

    path: str
    turns: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}[{','.join(map(str, self.turns))}]" if self.turns else self.path


class StageStep(Wire):
    """A stage, without its code."""

    kind: Literal["stage"] = "stage"
    path: str
    gives: str
    """The contract of what it gives, as text."""
    hooks: tuple[str, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    timeout_s: float | None = None
    recovers: bool = False
    """Whether an ``on_error`` is to be asked when it fails."""
    workflow: Literal["Sweep", "Experiment"] | None = None
    """The workflow that does its work; None for a function."""


class ParallelStep(Wire):
    """Branches that run side by side on the same input."""

    kind: Literal["parallel"] = "parallel"
    path: str
    branches: tuple["Plan", ...]


class ConditionalStep(Wire):
    """One of two branches; without the second one the input is passed on."""

    kind: Literal["conditional"] = "conditional"
    path: str
    then: "Plan"
    otherwise: "Plan"


class LoopStep(Wire):
    """A body that is repeated while a predicate holds."""

    kind: Literal["loop"] = "loop"
    path: str
    body: "Plan"
    max_iterations: int | None = None


class PipelineStep(Wire):
    """A pipeline used as a stage."""

    kind: Literal["pipeline"] = "pipeline"
    path: str
    body: "Plan"


Step: TypeAlias = Annotated[
    StageStep | ParallelStep | ConditionalStep | LoopStep | PipelineStep, Field(discriminator="kind")
]


class Plan(Wire):
    """The structure, names, contracts and policies of a pipeline; no code."""

    steps: tuple[Step, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """What changes when the plan does, as 16 hexadecimal digits; a fix of a function's body leaves it."""
        return blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()


def width_of(plan: Plan) -> int:
    """How many branches of a plan run side by side at most."""
    return max(map(_width_of_step, plan.steps), default=1)


def _width_of_step(step: Step) -> int:
    match step:
        case ParallelStep():
            return sum(map(width_of, step.branches))
        case ConditionalStep():
            return max(width_of(step.then), width_of(step.otherwise))
        case LoopStep() | PipelineStep():
            return width_of(step.body)
    return 1


class Position(BaseModel, Generic[V]):
    """How far the run of a plan has come: all that is needed to go on from there.

    Its size does not depend on how many turns of a loop lie behind it.
    """

    value: V
    """What flows into the step; a port's own kind of value."""
    step: int = 0
    turns: int = 0
    """Finished turns of the loop at this step."""
    chosen: bool | None = None
    """What the predicate at this step said."""
    inside: "list[Position[V]]" = Field(default_factory=list)
    """Positions in the plans of this step; empty when it has not begun."""

    def move(self, value: V) -> None:
        """Go to the next step with what this one gave."""
        self.value, self.step = value, self.step + 1
        self.turns, self.chosen, self.inside = 0, None, []

    def turn(self, value: V) -> None:
        """Go to the next turn of the loop at this step."""
        self.value, self.turns, self.chosen, self.inside = value, self.turns + 1, None, []


class StageFailure(Wire):
    """Why a stage failed for good."""

    stage: str
    kind: StageFailureKind
    message: str
    attempts: int = 0
    error: Value | None = None
    """What it raised, where that can be kept."""


class Profile(Wire):
    """What the code of a stage took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    report: str = ""
    """The busiest functions, when it was profiled in full."""


class Outcome(Wire):
    """How a stage ended, without the value it gave."""

    stage: str
    status: StageStatus = "done"
    attempts: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    failed_hooks: dict[str, int] = Field(default_factory=dict)
    """How often observation hooks raised, by name."""
    written: tuple[str, ...] = ()
    """Keys of what it left in the store."""
    profile: Profile | None = None
