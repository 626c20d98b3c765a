"""The sweeps of a project: start one, attach to one, list them."""

import os
import sys
import sysconfig
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from metta.sweep.client.connection import connect
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.keeper import Keeper
from metta.sweep.client.launches import Launches
from metta.sweep.client.loop import call
from metta.sweep.client.results import Results, table_of
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.errors import DefinitionChanged, DefinitionError, NameInUse
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.sweeps import SweepInput, SweepState, SweepStatus
from metta.sweep.stores.files import FileStore
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
        if self._launches.unfinished():
            if self._settings.is_embedded:
                EmbeddedServer(self._settings.store / "server").ensure()
            self._launches.revive()

    def start(
        self, name: str, definition: SweepInput, value: Callable[..., object] | None = None
    ) -> SweepHandle:
        """Start a sweep, or go on with one.

        Args:
            name: Its name.
            definition: What it is; ``resume`` says whether it may exist already.
            value: The objective, when it has to travel by value.

        Raises:
            NameInUse: When it exists and is not to be resumed.
            DefinitionChanged: When it exists with another definition.
            DefinitionError: When it cannot run from here.
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
        definition = self.continued(name, definition)
        if value is not None:
            definition = definition.model_copy(update={"objective": self._put(definition.objective, value)})
        self._store.prepare()
        self._launches.open(name, code_here())  # while it starts, the connection is made
        return call(self._started(name, definition, wanted))

    def attach(self, name: str) -> SweepHandle:
        """The handle of a sweep that was started before.

        Raises:
            SweepNotFound: When there is none of that name.
        """
        handle = self._handle(name, call(connect(self._settings)))
        handle.status()
        return handle

    def overview(self) -> list[tuple[str, SweepStatus]]:
        """All sweeps that are recorded, by name; asks no server."""
        return [(name, self._status(name)) for name in self._store.names()]

    @property
    def folder(self) -> Path:
        """Folder of the artifact store."""
        return self._store.root

    def results(self, name: str) -> Results:
        """What is recorded of a sweep that is over."""
        return Results.of(name, self._store.ledger(name))

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
        table = table_of(ledger)
        if table.spec and (changes := table.spec.differences(definition)):
            raise DefinitionChanged(name, changes)
        return definition.model_copy(update={"budget": table.control.budget.changed(definition.budget)})

    def _put(self, objective: str, value: Callable[..., object]) -> str:
        import cloudpickle  # 10 ms that nobody else pays

        reference = Reference.parse(objective)
        return str(reference._replace(target=self._store.put_value(cloudpickle.dumps(value))))

    async def _started(self, name: str, definition: SweepInput, wanted: Budget) -> SweepHandle:
        client = await connect(self._settings)
        handle = self._handle(name, client)
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
                await handle.change_budget(wanted)
        return handle

    def _handle(self, name: str, client: Client) -> SweepHandle:
        return SweepHandle(name, self._store, client, Keeper(self._settings))

    def _status(self, name: str) -> SweepStatus:
        table = table_of(self._store.ledger(name))
        return SweepStatus(
            state=_state(table, self._launches.is_alive(name)),
            progress=table.progress(),
            control=table.control,
            reason=table.finish.reason if table.finish else "",
        )


def _state(table: TrialTable, has_worker: bool) -> SweepState:
    if table.finish:
        return "failed" if table.finish.reason == "failed" else "finished"
    return "running" if has_worker else "cancelled"


def code_here() -> Code:
    """How this program was started, so that others can import what it imports."""
    # what every process of the same interpreter has need not be told
    own = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    entries = [os.path.abspath(entry) for entry in sys.path]
    path = tuple(entry for entry in entries if entry not in own and not entry.startswith(sys.base_prefix))
    return Code(objective="", argv=tuple(sys.argv), cwd=str(Path.cwd()), path=path)
