"""Messages between a worker and its stage processes: a line of JSON each."""

from pathlib import Path
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from pydantic import Field, JsonValue

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.experiments import ExperimentSpec, MergeOrder, Order, RecoverOrder, StageOrder
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.nested import NestedEnd, NestedRun
from metta.sweep.contracts.plans import At, Outcome, Plan, StageFailure
from metta.sweep.contracts.values import Value


class Setting(Wire):
    """What a stage process is told first.

    Args:
        code: Where user code is found.
        store: Address of the artifact store.
        home: Folder of this machine, for what it works with.
        pickle: Whether values may be pickled.
    """

    code: Code
    store: str
    home: Path
    pickle: bool


class _Task(Wire):
    log: Path
    """Where what it prints is appended to."""
    traceparent: str | None = None
    """The span that it is carried out in, in the words of W3C Trace Context; None where nobody traces."""


class PlanTask(_Task):
    """Import an experiment, check it, and pack what flows into it."""

    kind: Literal["plan"] = "plan"
    spec: ExperimentSpec
    input: JsonValue = None
    given: Value | None = None


class LoadTask(_Task):
    """Import an experiment, so that its first stage need not wait for that."""

    kind: Literal["load"] = "load"
    spec: ExperimentSpec


OrderT = TypeVar("OrderT", bound=Order)


class _OrderTask(_Task, Generic[OrderT]):
    order: OrderT

    @property
    def spec(self) -> ExperimentSpec:
        """Which experiment it is about."""
        return self.order.spec


class StageTask(_OrderTask[StageOrder]):
    """Make one attempt of a stage; ``failed`` were made before, and it was forgotten ``anew`` times."""

    kind: Literal["stage"] = "stage"
    failed: int = 0
    anew: int = 0


class RecoverTask(_OrderTask[RecoverOrder]):
    """Ask the ``on_error`` of a stage."""

    kind: Literal["recover"] = "recover"


class DecideTask(_OrderTask[Order]):
    """Ask a predicate."""

    kind: Literal["decide"] = "decide"


class MergeTask(_OrderTask[MergeOrder]):
    """Merge the results of parallel branches."""

    kind: Literal["merge"] = "merge"


class ChildTask(_OrderTask[Order]):
    """Ask what the workflow that does a stage's work is to be given."""

    kind: Literal["child"] = "child"


Task: TypeAlias = Annotated[
    PlanTask | LoadTask | StageTask | RecoverTask | DecideTask | MergeTask | ChildTask,
    Field(discriminator="kind"),
]


class Answered(Wire):
    """The end of a nested run that the process has asked for."""

    kind: Literal["answered"] = "answered"
    number: int
    end: NestedEnd


Incoming: TypeAlias = Annotated[Task | Answered, Field(discriminator="kind")]
"""What a worker says to a stage process that is ready."""


class Asked(Wire):
    """The code of the stage asks for a nested run; ``number`` tells it from others of this process."""

    kind: Literal["asked"] = "asked"
    number: int
    run: NestedRun


class Dropped(Wire):
    """It does not want it any more."""

    kind: Literal["dropped"] = "dropped"
    number: int


class Begun(Wire):
    """The code of a stage is about to run; its worker knows which, even of one that ends the process."""

    kind: Literal["begun"] = "begun"
    code: str


class Reply(Wire):
    """What came of a task: trouble, a failure, mistakes in the definition, or what the task was to give.

    Args:
        trouble: What broke that is nobody's fault, so that it can be tried again.
        failure: Why it failed.
        mistakes: Why the experiment cannot be run as it is defined.
        value: What flows on.
        outcome: How a stage ended; None while its work is to be done by another workflow.
        decided: What the predicate said that comes next.
        answer: What a predicate said.
        child: Input of the workflow that is to do a stage's work.
        summary: One line on it.
        plan: The plan.
        structure: The plan as text.
        code: What changes with the stage's code; the worker has it from ``Begun``.
    """

    kind: Literal["reply"] = "reply"
    trouble: str = ""
    failure: StageFailure | None = None
    mistakes: tuple[str, ...] = ()
    value: Value = Value()
    outcome: Outcome | None = None
    decided: tuple[At, bool] | None = None
    answer: bool = False
    child: dict[str, JsonValue] | None = None
    summary: str = ""
    plan: Plan | None = None
    structure: tuple[str, ...] = ()
    code: str = ""


Outgoing: TypeAlias = Annotated[Reply | Begun | Asked | Dropped, Field(discriminator="kind")]
"""What a stage process says to its worker."""
