"""The outcome log: what is recorded of an experiment, a line each time something is known for good."""

from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, JsonValue

from metta.sweep.contracts.budgets import SharedBudget
from metta.sweep.contracts.experiments import ExperimentSpec
from metta.sweep.contracts.models import Numbered, Wire
from metta.sweep.contracts.plans import At, Outcome, StageFailure
from metta.sweep.contracts.values import Value


class _Entry(Wire):
    """A fact and the time it was recorded, in seconds since 1970."""

    recorded: float


class Began(_Entry):
    """The experiment was started, or goes on after it had ended; always the first entry.

    Args:
        run: Temporal run id of the first run of this beginning.
        experiment: Reference to its class or pipeline.
        fields: Its fields.
        input: What flows into its first stage.
        fingerprint: Of its plan.
        structure: The plan as text, a line a step, to show what was changed.
        seed: Seed of the stages' seeds; None derives them from the experiment's name.
        owner: Whose trial it is: the id of a ledger; empty when it is nobody's.
        defaults: What its program had configured.
        budget: What all that runs within it may spend together.
        anew: Whether what was recorded before belongs to another owner, and counts no more.
        forgotten: What else counts no more of what was recorded before: by path of a step, the first turns
            from which on it does not.
    """

    type: Literal["began"] = "began"
    run: str
    experiment: str
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    input: Value = Value()
    fingerprint: str
    structure: tuple[str, ...] = ()
    seed: int | None = None
    owner: str = ""
    defaults: dict[str, JsonValue] = Field(default_factory=dict)
    budget: SharedBudget = SharedBudget()
    anew: bool = False
    forgotten: dict[str, tuple[int, ...]] = Field(default_factory=dict)

    def forgets(self, at: At) -> bool:
        """Whether what was recorded of a step before counts no more.

        >>> began = Began(recorded=0, run="", experiment="", fingerprint="", forgotten={"train": (2,)})
        >>> began.forgets(At("train", (1,))), began.forgets(At("train", (2,))), began.forgets(At("load"))
        (False, True, False)
        """
        first = self.forgotten.get(at.path)
        return self.anew or (first is not None and at.turns >= first)

    @property
    def spec(self) -> ExperimentSpec:
        """Which experiment it is."""
        return ExperimentSpec(experiment=self.experiment, fields=self.fields, defaults=self.defaults)


class StageEnded(_Entry):
    """A stage has given a value.

    Args:
        at: Which run of which stage.
        outcome: How it ended.
        value: What flows on.
        code: What changes with the stage's code; empty when it is not known.
        seconds: How long it took, all attempts and waits included.
        input: Hash of what flowed in; empty when it is not known.
    """

    type: Literal["stage"] = "stage"
    at: At
    outcome: Outcome
    value: Value
    code: str = ""
    seconds: float = 0.0
    input: str = ""


class AttemptFailed(_Entry):
    """An attempt of a stage has failed by its own fault.

    Args:
        at: Which run of which stage.
        failure: Why, and how many attempts have failed since the experiment began, or was begun again.
        code: What changes with the stage's code; empty when it is not known.
        input: Hash of what flowed in; empty when it is not known.
    """

    type: Literal["attempt"] = "attempt"
    at: At
    failure: StageFailure
    code: str = ""
    input: str = ""


class Decided(_Entry):
    """A predicate was asked."""

    type: Literal["decision"] = "decision"
    at: At
    answer: bool


class Merged(_Entry):
    """The results of parallel branches were merged."""

    type: Literal["merge"] = "merge"
    at: At
    value: Value


class NestedEnded(_Entry):
    """A run that the code of a stage had started has given a value; it is not run again for that stage.

    Args:
        at: Which run of which stage.
        key: What tells it from the other runs of that stage.
        name: Id of its workflow, under which it is recorded.
        definition: Changes with all that would make it another run.
        budget: The limits that it was run with.
        value: What it gave.
        seconds: How long it took.
    """

    type: Literal["nested"] = "nested"
    at: At
    key: str
    name: str
    definition: str
    budget: JsonValue = None
    value: Value = Value()
    seconds: float = 0.0


class Finished(_Entry):
    """The experiment has ended.

    Args:
        reason: How.
        value: What its last stage gave.
        message: Why it failed.
        budget: The budget that was in force.
    """

    type: Literal["finished"] = "finished"
    reason: Literal["completed", "failed", "stopped"]
    value: Value = Value()
    message: str = ""
    budget: SharedBudget = SharedBudget()


Entry: TypeAlias = Annotated[
    Began | StageEnded | AttemptFailed | Decided | Merged | NestedEnded | Finished,
    Field(discriminator="type"),
]


class Line(Numbered):
    """A line of the log: entries that came together.

    Args:
        entries: In their order.
        version: Version of this format.
    """

    model_config = ConfigDict(populate_by_name=True)

    entries: tuple[Entry, ...] = ()
    version: Literal[1] = Field(default=1, alias="schema")
