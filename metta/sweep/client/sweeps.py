"""The sweeps of a project: start one, attach to one, list them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from metta.sweep.client.collecting import OLD, Collected, collected
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.handovers import beginning, handed_over
from metta.sweep.client.queues import check_named
from metta.sweep.client.results import table_of
from metta.sweep.client.settings import Settings
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.budgets import Budget, check_goes_on
from metta.sweep.contracts.errors import DefinitionChanged, DefinitionError, NameInUse, SweepEnded
from metta.sweep.contracts.names import is_of_a_trial
from metta.sweep.contracts.objective_specs import reference_in, renamed
from metta.sweep.contracts.sweeps import SweepInput
from metta.sweep.contracts.trials import Observation
from metta.sweep.stores.base import Store
from metta.sweep.stores.observations import prior_of
from metta.sweep.stores.spending import spent_in
from metta.sweep.stores.trials import TrialTable

UNDER_WAY = ("running", "paused", "stopping")
"""States of a sweep that a lower budget brings to its end, as ``set_budget`` does."""


class Sweeps:
    """All sweeps of a project. Made by any command, it first sets going again what somebody killed.

    Args:
        settings: Which project; None means that of the current folder.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._starts = Starts(settings)
        self._store = self._starts.store

    def start(
        self,
        name: str,
        definition: SweepInput,
        value: Callable[..., object] | None = None,
        fingerprint: str = "",
        observations: Sequence[Observation] = (),
        queue: str | None = None,
    ) -> SweepHandle:
        """Start a sweep, or go on with one.

        Args:
            name: Its name.
            definition: What it is; ``resume`` says whether it may exist already.
            value: The code of the objective, when it has to travel by value.
            fingerprint: What changes with the objective's code; empty when that is not known.
            observations: What it begins with besides the definition's warm start.
            queue: The shared queue to which it goes; empty starts a worker of its own, None leaves that to
                the settings.

        Raises:
            NameInUse: When it exists and is not to be resumed.
            DefinitionChanged: When it exists with another definition.
            DefinitionError: When it cannot run from here, or cannot begin with what it is to begin with.
            SweepNotFound: When it is to begin with a sweep that does not exist.
            ServerError: When there is no server and none can be started.
        """
        subject = f"the sweep {name}"
        self._starts.check_is_local(subject)
        is_default = queue is None or bool(self._starts.settings.queue)
        queue = self._starts.queue_of(name, queue, definition.resume and self._store.ledger(name).exists())
        if queue:
            code = reference_in(definition.objective)
            parts = (definition.optimizer, definition.scheduler, definition.executor)
            check_named(queue, [code] if code else [], parts, subject, is_default)
        wanted = definition.budget
        definition = self.warmed(name, self.continued(name, definition), observations)
        if value is not None:
            objective = definition.objective
            reference = handed_over(self._store, reference_in(objective) or "", value)
            definition = definition.model_copy(update={"objective": renamed(objective, reference)})
        notes = self._notes(name, definition, fingerprint)
        begin = partial(self._started, name, definition, wanted, queue)
        if queue:
            handle, more = self._starts.sent(queue, begin)
            notes += more
        else:
            handle = self._starts.begun(name, fingerprint, begin)
        handle.notes = notes
        return handle

    def attach(self, name: str) -> SweepHandle:
        """The handle of a sweep that was started before.

        Raises:
            SweepNotFound: When there is none of that name.
        """
        handle = self._handle(name)
        if not handle.is_recorded():
            handle.status()  # Temporal may know it although nothing is recorded yet
        return handle

    def handles(self) -> list[SweepHandle]:
        """All sweeps that are recorded, by name, but for those within trials of other ones."""
        return [self._handle(name) for name in self._store.names() if not is_of_a_trial(name)]

    def gc(self, *names: str, delete: bool = False, older_than: timedelta = OLD) -> Collected:
        """Find what nobody needs any more of all that lies in the store, and perhaps delete it.

        Records, logs and reports are kept for ever, and so is whatever a record refers to, what belongs to
        something that runs, and all whose owner cannot be told.

        Args:
            *names: Sweeps and experiments to look at; without any, everything.
            delete: Whether it is deleted; else it is only told what would be.
            older_than: Age of values, blobs and drafts that may be deleted; at least an hour.

        Raises:
            DefinitionError: When the age is too low, or the store is not a folder.
            SweepNotFound: When one of the names is unknown.
            StoreError: When the store cannot be read, or not be written to.
        """
        return collected(self._starts, names, delete=delete, older_than=older_than)

    @property
    def store(self) -> Store:
        """The artifact store."""
        return self._store

    def table(self, name: str) -> TrialTable:
        """What is recorded of a sweep."""
        return table_of(self._store.ledger(name))

    def has_worker(self, name: str) -> bool:
        """Whether a sweep's own worker lives."""
        return self._starts.launches.is_alive(name)

    def continued(self, name: str, definition: SweepInput) -> SweepInput:
        """A definition, with the recorded limits where it continues a sweep and gives none.

        Raises:
            NameInUse: When the sweep exists and is not to be resumed, or an experiment is called so.
            DefinitionChanged: When it exists with another definition.
            DefinitionError: When it is over, and has spent more than it may from now on.
        """
        if self._store.outcome_log(name).exists():
            raise NameInUse(name, by="an experiment")
        ledger = self._store.ledger(name)
        if not ledger.exists():
            return definition
        if not definition.resume:
            raise NameInUse(name)
        table = self.table(name)
        if table.spec and (changes := table.spec.differences(definition)):
            raise DefinitionChanged(name, changes)
        before = table.control.budget
        limits = before.changed(definition.budget)
        try:
            check_goes_on(limits, before, spent_in(table), name)
        except DefinitionError:
            if self._handle(name).status_of(table).state not in UNDER_WAY:
                raise
        return definition.model_copy(update={"budget": limits})

    def warmed(self, name: str, definition: SweepInput, observations: Sequence[Observation]) -> SweepInput:
        """A definition that begins with observations too, in a form that other processes find.

        Raises:
            DefinitionError: When it cannot begin with that.
            SweepNotFound: When it is to begin with a sweep that does not exist.
        """
        sources = beginning(self._store, definition.warm_start, observations)
        definition = definition.model_copy(update={"warm_start": sources})
        if not self._store.ledger(name).exists():  # else what it began with is recorded
            prior_of(self._store, name, definition)  # the worker does it, too; here mistakes are told at once
        return definition

    def _notes(self, name: str, definition: SweepInput, fingerprint: str) -> list[str]:
        before = self._handle(name).code
        if not (definition.resume and before and before.fingerprint and fingerprint):
            return []
        if before.fingerprint == fingerprint:
            return []
        return [
            f"the code of {definition.objective_name} has changed since this sweep last ran;"
            " what it has found out so far stays as it is"
        ]

    async def _started(self, name: str, definition: SweepInput, wanted: Budget, queue: str) -> SweepHandle:
        handle = self._handle(name)
        summary = f"sweep of {definition.objective_name}"
        if await self._starts.started("Sweep", name, definition, summary, queue):
            return handle
        if not definition.resume:
            raise NameInUse(name)
        if wanted.model_fields_set:  # it runs: attach, and change what was given
            try:
                await handle.change_budget(wanted)
            except SweepEnded:  # at this very moment
                return await self._started(name, definition, wanted, queue)
        return handle

    def _handle(self, name: str) -> SweepHandle:
        return SweepHandle(name, self._store, self._starts.settings, self._starts.client)
