"""The sweeps of a project: start one, attach to one, list them."""

import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from metta.sweep.client.connection import connect
from metta.sweep.client.detached import end
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.launches import STOP_S, Launches
from metta.sweep.client.loop import call
from metta.sweep.client.results import table_of
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.errors import (
    DefinitionChanged,
    DefinitionError,
    NameInUse,
    ServerError,
    SweepEnded,
)
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.sweeps import SweepInput
from metta.sweep.contracts.trials import Observation
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.observations import VALUE, located, prior_of, written
from metta.sweep.stores.trials import TrialTable

RPC_TIMEOUT = timedelta(seconds=10)


class Sweeps:
    """All sweeps of a project. Made by any command, it first sets going again what somebody killed.

    Args:
        settings: Which project; None means that of the current folder.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings.load()
        self._store = FileStore(self._settings.store)
        self._launches = Launches(self._settings.store)
        self._client: Client | None = None
        if self._launches.unfinished():
            if self._settings.is_embedded:
                EmbeddedServer(self._settings.store / "server").ensure()
            self._launches.revive()

    def start(
        self,
        name: str,
        definition: SweepInput,
        value: Callable[..., object] | None = None,
        fingerprint: str = "",
        observations: Sequence[Observation] = (),
    ) -> SweepHandle:
        """Start a sweep, or go on with one.

        Args:
            name: Its name.
            definition: What it is; ``resume`` says whether it may exist already.
            value: The objective, when it has to travel by value.
            fingerprint: What changes with the objective's code; empty when that is not known.
            observations: What it begins with besides the definition's warm start.

        Raises:
            NameInUse: When it exists and is not to be resumed.
            DefinitionChanged: When it exists with another definition.
            DefinitionError: When it cannot run from here, or cannot begin with what it is to begin with.
            SweepNotFound: When it is to begin with a sweep that does not exist.
            ServerError: When there is no server and none can be started.
        """
        if not self._settings.is_local:
            raise DefinitionError(
                [
                    f"the store {self._settings.store} is on this machine, but Temporal at"
                    f" {self._settings.connect['target_host']} is not: workers there could not read it"
                ],
                f"the sweep {name}",
            )
        wanted = definition.budget
        definition = self.warmed(name, self.continued(name, definition), observations)
        if value is not None:
            definition = definition.model_copy(update={"objective": self._put(definition.objective, value)})
        notes = self._notes(name, definition, fingerprint)
        self._store.prepare()
        had_worker = self._launches.is_alive(name)
        # while its worker starts, the connection is made
        self._launches.open(name, code_here().model_copy(update={"fingerprint": fingerprint}))
        try:
            call(self._connected())
        except ServerError:
            if not had_worker:
                self._withdraw(name)
            raise
        handle = call(self._started(name, definition, wanted))
        self._launches.reopen(name)  # the worker of the run before may have ended meanwhile
        handle.notes = notes
        return handle

    def attach(self, name: str) -> SweepHandle:
        """The handle of a sweep that was started before.

        Raises:
            SweepNotFound: When there is none of that name.
        """
        handle = self._handle(name)
        if not handle.ledger.exists():
            handle.status()  # Temporal may know it although nothing is recorded yet
        return handle

    def handles(self) -> list[SweepHandle]:
        """All sweeps that are recorded, by name."""
        return [self._handle(name) for name in self._store.names()]

    @property
    def folder(self) -> Path:
        """Folder of the artifact store."""
        return self._store.root

    def table(self, name: str) -> TrialTable:
        """What is recorded of a sweep."""
        return table_of(self._store.ledger(name))

    def has_worker(self, name: str) -> bool:
        """Whether a sweep's own worker lives."""
        return self._launches.is_alive(name)

    def continued(self, name: str, definition: SweepInput) -> SweepInput:
        """A definition, with the recorded limits where it continues a sweep and gives none.

        Raises:
            NameInUse: When the sweep exists and is not to be resumed.
            DefinitionChanged: When it exists with another definition.
        """
        ledger = self._store.ledger(name)
        if not ledger.exists():
            return definition
        if not definition.resume:
            raise NameInUse(name)
        table = self.table(name)
        if table.spec and (changes := table.spec.differences(definition)):
            raise DefinitionChanged(name, changes)
        return definition.model_copy(update={"budget": table.control.budget.changed(definition.budget)})

    def warmed(self, name: str, definition: SweepInput, observations: Sequence[Observation]) -> SweepInput:
        """A definition that begins with observations too, in a form that other processes find.

        Raises:
            DefinitionError: When it cannot begin with that.
            SweepNotFound: When it is to begin with a sweep that does not exist.
        """
        sources = [located(self._store, source) for source in definition.warm_start]
        if observations:
            sources.append(VALUE + self._store.put_value(written(observations)))
        definition = definition.model_copy(update={"warm_start": tuple(sources)})
        if not self._store.ledger(name).exists():  # else what it began with is recorded
            prior_of(self._store, name, definition)  # the worker does it, too; here mistakes are told at once
        return definition

    def _notes(self, name: str, definition: SweepInput, fingerprint: str) -> list[str]:
        before = self._handle(name).code
        if not (definition.resume and before and before.fingerprint and fingerprint):
            return []
        if before.fingerprint == fingerprint:
            return []
        objective = Reference.parse(definition.objective).name
        return [
            f"the code of {objective} has changed since this sweep last ran;"
            " what it has found out so far stays as it is"
        ]

    def _withdraw(self, name: str) -> None:
        """Nothing was started: the next command is not to set it going again."""
        self._launches.close(name, self._launches.read(name).generation)
        end(self._launches.lock(name), STOP_S)

    def _put(self, objective: str, value: Callable[..., object]) -> str:
        import cloudpickle  # 10 ms that nobody else pays

        reference = Reference.parse(objective)
        try:
            pickled = cloudpickle.dumps(value)
        except Exception as error:  # pickling runs user code, which may raise anything
            problem = (
                f"{reference.name} has to travel to other processes by value, and cannot:"
                f" {type(error).__name__}: {error}. Define it in a module or script, and make there what"
                " cannot travel"
            )
            raise DefinitionError([problem], "the objective") from error
        return str(reference._replace(target=self._store.put_value(pickled)))

    async def _started(self, name: str, definition: SweepInput, wanted: Budget) -> SweepHandle:
        client = await self._connected()
        handle = self._handle(name)
        try:
            await client.start_workflow(
                "Sweep",
                definition,
                id=name,
                task_queue=name,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=f"sweep of {Reference.parse(definition.objective).name}",
                rpc_timeout=RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            if not definition.resume:
                raise NameInUse(name) from None
            if wanted.model_fields_set:  # it runs: attach, and change what was given
                try:
                    await handle.change_budget(wanted)
                except SweepEnded:  # at this very moment
                    return await self._started(name, definition, wanted)
        except RPCError as error:
            raise ServerError(f"the Temporal server does not start {name}: {error}") from error
        return handle

    async def _connected(self) -> Client:
        self._client = self._client or await connect(self._settings)
        return self._client

    def _handle(self, name: str) -> SweepHandle:
        return SweepHandle(name, self._store, self._settings, self._connected)


def code_here() -> Code:
    """How this program was started, so that others can import what it imports."""
    path = tuple(entry for entry in map(os.path.abspath, sys.path) if not _is_pythons_own(Path(entry)))
    return Code(objective="", argv=tuple(sys.argv), cwd=str(Path.cwd()), path=path)


def _is_pythons_own(entry: Path) -> bool:
    """Whether every process of the same interpreter has an entry of ``sys.path``: it need not be told."""
    library = Path(sysconfig.get_path("stdlib"))
    packages = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    return entry in packages or entry.is_relative_to(library) or entry.parent == library.parent
