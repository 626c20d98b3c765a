"""Experiments: input and result of their workflow, and of the activities that run their stages."""

from typing import Literal, TypeAlias

from pydantic import Field, JsonValue, field_validator

from metta.sweep.contracts.budgets import SharedBudget, Spent
from metta.sweep.contracts.defaults import Defaults
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.models import Wire, Written, parse
from metta.sweep.contracts.plans import At, Outcome, Plan, Position, StageFailure
from metta.sweep.contracts.values import Value

ExperimentState: TypeAlias = Literal["running", "paused", "stopping", "finished", "failed", "cancelled"]


class ExperimentSpec(Wire):
    """Which experiment.

    Args:
        experiment: Reference to its class, or to a pipeline.
        fields: Fields of the experiment, as plain JSON.
        defaults: What its program had configured for experiments that say nothing else: the fields of
            ``Defaults``, as plain JSON.
        lineage: Of each experiment that it runs within the hash of its definition, or its stage.
    """

    experiment: str
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    defaults: dict[str, JsonValue] = Field(default_factory=dict)
    lineage: tuple[str, ...] = ()


class ExperimentControl(Wire):
    """What people want of a running experiment; all of it holds between stages.

    Args:
        pause: Whether nothing new is to begin.
        stop: Whether it is to end.
        budget: What all that runs within it may spend together.
    """

    pause: bool = False
    stop: bool = False
    budget: SharedBudget = SharedBudget()

    @property
    def state(self) -> Literal["running", "paused", "stopping"]:
        """What an experiment does that is not over."""
        if self.stop:
            return "stopping"
        return "paused" if self.pause else "running"


class Steering(Wire):
    """What an experiment tells the workflows that it has started; None says nothing.

    Args:
        pause: Whether nothing new is to begin.
        stop: Whether they are to end.
        budget: What one of them may spend in all.
        owners: Whose each of these limits is; see ``ExperimentInput``.
    """

    pause: bool | None = None
    stop: bool = False
    budget: SharedBudget | None = None
    owners: dict[str, str] = Field(default_factory=dict)


class Beginning(Wire):
    """Where a run begins.

    Args:
        plan: The pipeline as plain data.
        position: How far it is.
        ended: So many stages have ended before.
        spent: What all that ran within it has spent before.
    """

    plan: Plan
    position: Position[Value]
    ended: int = 0
    spent: Spent = Spent()


class ExperimentInput(ExperimentSpec, Written):
    """Input of the workflow ``Experiment``; plain JSON of its fields starts one from any Temporal client.

    Args:
        input: What flows into the first stage, as plain JSON.
        given: The same, packed by a program; counts where both are given.
        seed: Seed of its stages' seeds; None derives them from its name.
        resume: Whether an experiment of this name may exist already, and is then continued.
        from_stage: The stage from which on all that is recorded is forgotten, when it is continued: its path,
            or ``path[turns]``.
        control: The control in force, when this run continues an earlier one.
        beginning: Where that run has come to.
        owner: Whose trial it is: the id of a ledger. What is recorded for another one is not gone on with.
        budget: What all that runs within it may spend together, to begin with.
        granted: Whether that is a share of the budget of the experiment that it runs within.
        owners: Names of the experiments whose limits make a share as small as it is, by limit.
    """

    subject = "the experiment's JSON"

    input: JsonValue = None
    given: Value | None = None
    seed: int | None = None
    resume: bool = False
    from_stage: str = ""
    control: ExperimentControl = ExperimentControl()
    beginning: Beginning | None = None
    owner: str = ""
    budget: SharedBudget = SharedBudget()
    granted: bool = False
    owners: dict[str, str] = Field(default_factory=dict)

    @field_validator("defaults")
    @classmethod
    def _are_defaults(cls, defaults: dict[str, JsonValue]) -> dict[str, JsonValue]:
        try:
            parse(Defaults, defaults, "defaults")
        except DefinitionError as error:
            raise ValueError("\n".join(error.problems)) from None
        return defaults

    def owner_of(self, limit: str, name: str) -> str:
        """The experiment that has to have more of a limit, so that this one gets more.

        Args:
            limit: The limit.
            name: Name of this experiment.
        """
        # a worker of an older version grants a share, and does not say whose limits these are
        return self.owners.get(limit, name.partition("/")[0] if self.granted else name)

    @property
    def spec(self) -> ExperimentSpec:
        """Which experiment it is."""
        return ExperimentSpec(**{name: getattr(self, name) for name in ExperimentSpec.model_fields})


class PlanInput(Wire):
    """Input of ``plan_experiment``.

    Args:
        run: The Temporal run that asks.
        first_run: The one that was first started; another one when it was reset.
    """

    name: str
    spec: ExperimentSpec
    input: JsonValue = None
    given: Value | None = None
    resume: bool = False
    from_stage: str = ""
    run: str = ""
    first_run: str = ""
    seed: int | None = None
    owner: str = ""
    budget: SharedBudget = SharedBudget()


class Order(Wire):
    """What every activity of a step is told.

    Args:
        name: Name of the experiment.
        spec: Where its code is.
        fingerprint: Of the plan that is carried out.
        inline_bytes: Larger values are kept in the store.
        at: Which run of which step.
        value: What flows in.
        timeout_s: Longest time that an attempt may take; None means no limit.
        retry: How often a stage's code is tried again.
        seed: Seed of the stages' seeds; None derives them from the experiment's name.
    """

    name: str
    spec: ExperimentSpec
    fingerprint: str
    inline_bytes: int
    at: At
    value: Value
    timeout_s: float | None = None
    retry: RetryPolicy = RetryPolicy()
    seed: int | None = None


class StageOrder(Order):
    """Input of ``run_stage``.

    Args:
        child: The workflow that has done a stage's work.
        child_s: How many seconds that took.
    """

    child: str | None = None
    child_s: float = 0.0


class RecoverOrder(Order):
    """Input of ``recover_stage``."""

    failure: StageFailure


class MergeOrder(Order):
    """Input of ``merge_branches``."""

    results: tuple[Value, ...]


class SpentOrder(Wire):
    """Input of ``count_spent``: names of a sweep and of experiments, for each of which it is counted."""

    names: tuple[str, ...]


class SpentResult(Wire):
    """What each of them has spent, with all that ran within it."""

    spent: dict[str, Spent]


class FinishOrder(Wire):
    """Input of ``finish_experiment``: what is recorded of the end."""

    name: str
    reason: Literal["completed", "failed", "stopped"]
    value: Value = Value()
    message: str = ""
    budget: SharedBudget = SharedBudget()


class StageResult(Wire):
    """What a stage gave.

    Args:
        value: What flows on.
        outcome: How it ended.
        seconds: How long it took.
        decided: What the predicate of the next step said, when it was asked in the same call.
    """

    value: Value
    outcome: Outcome
    seconds: float = 0.0
    decided: tuple[At, bool] | None = None


class Answer(Wire):
    """What a predicate said."""

    answer: bool


class Child(Wire):
    """What the workflow is given that does the work of a stage.

    Args:
        input: Its input; None when there is nothing to do.
        summary: One line for people.
        anew: How often an earlier one was forgotten: its name is to be another one.
    """

    input: dict[str, JsonValue] | None = None
    summary: str = ""
    anew: int = 0


class Row(Wire):
    """A line of the stage table."""

    stage: str
    status: str
    attempts: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


class ExperimentStatus(Wire):
    """Answer of the query ``status``.

    Args:
        state: What it does.
        ended: So many stages have ended.
        rows: What runs now, and the latest stages that ended, the newest last.
        control: What people want.
        reason: Why it ended.
    """

    state: ExperimentState
    ended: int = 0
    rows: tuple[Row, ...] = ()
    control: ExperimentControl = ExperimentControl()
    reason: str = ""


class ExperimentResult(Wire):
    """Result of the workflow ``Experiment``; all outcomes stand in its log in the store."""

    name: str
    reason: Literal["completed", "stopped"]
    value: Value = Value()
