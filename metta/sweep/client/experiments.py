"""The experiments of a project: start one, attach to one, list them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from pydantic import JsonValue

from metta.sweep.client.comparisons import ExperimentComparison, SweepComparison, compared
from metta.sweep.client.experiment_handle import ExperimentHandle
from metta.sweep.client.handovers import handed_over
from metta.sweep.client.packing import Definition, Unpackable, packer_of
from metta.sweep.client.queues import check_named
from metta.sweep.client.settings import Settings
from metta.sweep.client.stages import stages_of
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.budgets import SharedBudget, check_goes_on
from metta.sweep.contracts.changes import changes_since
from metta.sweep.contracts.defaults import travelled
from metta.sweep.contracts.errors import DefinitionChanged, DefinitionError, NameInUse
from metta.sweep.contracts.experiments import ExperimentInput
from metta.sweep.contracts.names import is_of_a_trial
from metta.sweep.contracts.plans import Plan, width_of
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.values import Value, inline_bytes
from metta.sweep.stores.spending import Spending

Defined: TypeAlias = Callable[[Mapping[str, JsonValue]], Definition | None]


class Experiments:
    """All experiments of a project. Made by any command, it first sets going again what somebody killed.

    Args:
        settings: Which project; None means that of the current folder.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._starts = Starts(settings)
        self._store = self._starts.store

    def start(
        self,
        name: str,
        definition: ExperimentInput,
        *,
        input: Any = None,
        code: Any = None,
        pipeline: Definition,
        structure: Sequence[str],
        queue: str | None = None,
    ) -> ExperimentHandle:
        """Start an experiment, or go on with one.

        Args:
            name: Its name.
            definition: What it is; ``resume`` says whether it may exist already.
            input: What flows into its first stage.
            code: Its class or pipeline, when it has to travel by value.
            pipeline: Its pipeline.
            structure: The same as text.
            queue: The shared queue to which it goes; empty starts a worker of its own, None leaves that to
                the settings.

        Raises:
            NameInUse: When it exists and is not to be resumed.
            DefinitionChanged: When it exists and was another one.
            DefinitionError: When it cannot run from here, or has spent more than it may.
            ServerError: When there is no server and none can be started.
        """
        subject = f"the experiment {name}"
        self._starts.check_is_local(subject)
        is_default = queue is None or bool(self._starts.settings.queue)
        queue = self._starts.queue_of(
            name, queue, definition.resume and self._store.outcome_log(name).exists()
        )
        if queue:
            check_named(queue, [definition.experiment], definition.fields.values(), subject, is_default)
        self._check_name(name, definition.resume)
        if input is not None:
            given = self._packed(input, pipeline)
            definition = definition.model_copy(update={"given": given})
        self._check_same(name, definition, pipeline.plan, structure)
        before = self._budget_of(name)
        if not definition.budget.is_limited:  # one that goes on has the budget that it had
            definition = definition.model_copy(update={"budget": before})
        elif definition.budget != before and self._store.outcome_log(name).exists():
            check_goes_on(definition.budget, before, Spending(self._store).by(name), name)
        if code is not None:
            reference = handed_over(self._store, definition.experiment, code)
            definition = definition.model_copy(update={"experiment": reference})
        handle = self._handle(name, lambda: pipeline)
        begin = partial(self._started, name, definition, queue)
        if queue:
            _, handle.notes = self._starts.sent(queue, begin)
        else:
            self._starts.begun(name, "", begin)
        return handle

    def attach(self, name: str, defined: Defined | None = None) -> ExperimentHandle:
        """The handle of an experiment that was started before.

        Args:
            name: Its name.
            defined: Gives its pipeline, from the fields with which it was started.

        Raises:
            SweepNotFound: When there is none of that name.
        """
        handle = self._handle(name, lambda: self._defined(name, defined) if defined else None)
        if not handle.is_recorded():
            handle.status()  # Temporal may know it although nothing is recorded yet
        return handle

    def handles(self) -> list[ExperimentHandle]:
        """All experiments that are recorded, by name, but for those that are trials of sweeps."""
        return [self.attach(name) for name in self._store.experiment_names() if not is_of_a_trial(name)]

    def diff(self, name: str, other: str) -> ExperimentComparison | SweepComparison:
        """What differs between two experiments, or two sweeps; see ``compared``."""
        return compared(self._store, name, other)

    def _budget_of(self, name: str) -> SharedBudget:
        """The budget that was in force when an experiment ended; none when nothing is recorded of it."""
        stages = stages_of(self._store.outcome_log(name))
        last = stages.finished or stages.began
        return last.budget if last else SharedBudget()

    def _defined(self, name: str, defined: Defined) -> Definition | None:
        began = stages_of(self._store.outcome_log(name)).began
        with travelled(began.defaults if began else {}):
            return defined(began.fields if began else {})

    def _packed(self, input: Any, pipeline: Definition) -> Value:
        try:
            limit = inline_bytes(width_of(pipeline.plan))
            return packer_of(self._starts.settings, pipeline).kept(input, limit)
        except Unpackable as error:
            raise DefinitionError([f"it cannot be sent: {error.why}"], "the input") from error

    def _check_same(
        self, name: str, definition: ExperimentInput, plan: Plan, structure: Sequence[str]
    ) -> None:
        """The worker does it, too; here nothing was started yet when it is another one."""
        before = stages_of(self._store.outcome_log(name)).began
        if before is None:
            return
        now = before.model_copy(
            update={
                "fields": definition.fields,
                "input": definition.given or before.input,
                "fingerprint": plan.fingerprint,
                "structure": tuple(structure),
            }
        )
        if changes := changes_since(before, now):
            raise DefinitionChanged(name, changes, "experiment")

    def _check_name(self, name: str, resume: bool) -> None:
        if self._store.ledger(name).exists():
            raise NameInUse(name, "experiment", by="a sweep")
        if not resume and self._store.outcome_log(name).exists():
            raise NameInUse(name, "experiment")

    async def _started(self, name: str, definition: ExperimentInput, queue: str) -> None:
        summary = Reference.parse(definition.experiment).name
        is_new = await self._starts.started("Experiment", name, definition, summary, queue)
        if not is_new and not definition.resume:  # else it runs, and is attached to
            raise NameInUse(name, "experiment")

    def _handle(self, name: str, defined: Callable[[], Definition | None]) -> ExperimentHandle:
        return ExperimentHandle(name, self._store, self._starts.settings, self._starts.client, defined)
