"""Starts: how a program begins work that goes on without it."""

import os
import sys
import sysconfig
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client.connection import connect
from metta.sweep.client.environment import check_environment
from metta.sweep.client.launches import Launch, Launches
from metta.sweep.client.loop import call
from metta.sweep.client.queues import idle_note, is_served
from metta.sweep.client.runs import RPC_TIMEOUT, why_of
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.client.sizes import check_size
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import DefinitionError, ServerError, StoreError, SweepError
from metta.sweep.stores.ledgers import told

T = TypeVar("T")


class Starts:
    """What is started in a project. Made by any command, it first sets going again what somebody killed.

    Args:
        settings: Which project; None means that of the current folder.

    Attributes:
        held_up: Why it could not be set going again; empty when it could, or need not.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()
        self.store = self.settings.store
        self.launches = Launches(self.settings.home)
        self._client: Client | None = None
        self.held_up = ""
        self.revive()

    def revive(self) -> None:
        """Set going again what somebody killed; ``held_up`` says why that cannot be done."""
        self.held_up = ""
        try:
            with told(self.settings.home, "read"):
                self._revive()
        except (ServerError, StoreError) as error:  # what is recorded can be looked at all the same
            self.held_up = str(error)

    @property
    def note(self) -> str:
        """What people are told when something is held up; empty when nothing is."""
        return f"what is unfinished does not go on: {self.held_up}" if self.held_up else ""

    def _revive(self) -> None:
        # who may only read here looks at what others run
        if not (os.access(self.settings.home, os.W_OK) and self.launches.unfinished()):
            return
        if self.settings.is_embedded:
            EmbeddedServer(self.settings.home / "server").ensure()
        self.launches.revive()

    def check_is_local(self, subject: str) -> None:
        """See to it that whatever runs the work can read the store.

        Raises:
            DefinitionError: When it could not.
        """
        if not (self.settings.is_local or self.settings.address):
            raise DefinitionError(
                [
                    f"the store {self.settings.home} is on this machine, but Temporal at"
                    f" {self.settings.connect['target_host']} is not: workers there could not read it"
                ],
                subject,
            )

    def begun(self, name: str, fingerprint: str, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Begin work that a worker of its own does.

        Args:
            name: Name of the work, and of the worker's queue.
            fingerprint: What changes with the code; empty when that is not known.
            begin: Asks the server for it.

        Returns:
            What the server was asked for.

        Raises:
            DefinitionError: With every mistake of the work, or in the environment that its worker would have.
            ServerError: When there is no server and none can be started.
            StoreError: When the store cannot be written.
        """
        code = code_here().model_copy(update={"fingerprint": fingerprint})
        return self.begun_again(Launch(queue=name, code=code, store=self.settings.address), begin)

    def begun_again(self, launch: Launch, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Begin work that a worker of its own does, which is started as an earlier one was.

        Args:
            launch: How the worker is started.
            begin: Asks the server for the work.

        Returns:
            What the server was asked for.

        Raises:
            DefinitionError: With every mistake of the work, or in the environment that its worker would have.
            ServerError: When there is no server and none can be started.
            StoreError: When the store cannot be written.
        """
        check_environment()
        name = launch.queue
        self.store.prepare()
        had_worker = self.launches.is_alive(name)
        try:
            self.launches.open_as(launch)  # while its worker starts, the connection is made
            call(self.client())
            started = call(begin())
        except SweepError:
            if not had_worker and not call(self._may_run(name)):
                self._withdraw(name)
            raise
        self.launches.reopen(name)  # the worker of the run before may have ended meanwhile
        return started

    def queue_of(self, name: str, given: str | None, goes_on: bool) -> str:
        """The shared queue to which work goes; empty when a worker of its own does it.

        Args:
            name: Name of the work.
            given: The queue that was asked for; None leaves it to the settings.
            goes_on: Whether it may have begun before: then it goes on where it was, as the server tells, or
                else a launch of its own.

        Raises:
            ServerError: When there is no server and none can be started.
        """
        if given is not None:
            return given
        if goes_on:
            if before := call(self._queue_before(name)):
                return before if before != name else ""
            if self.launches.find(name):
                return ""
        return self.settings.queue

    def sent(self, queue: str, begin: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, list[str]]:
        """Begin work that the workers of a shared queue do.

        Args:
            queue: The queue.
            begin: Asks the server for it.

        Returns:
            What the server was asked for, and what should be known of it.

        Raises:
            ServerError: When there is no server and none can be started.
        """
        self.store.prepare()
        started = call(begin())
        return started, [] if call(self._is_served(queue)) else [idle_note(queue)]

    async def started(self, kind: str, name: str, input: BaseModel, summary: str, queue: str = "") -> bool:
        """Start a workflow.

        Args:
            kind: Type of the workflow.
            name: Its name.
            input: Its input.
            summary: One line for people.
            queue: Its queue; empty takes one of its own name.

        Returns:
            False when it runs already.

        Raises:
            DefinitionError: When its input is too large to be sent.
            ServerError: When the server does not start it.
        """
        client = await self.client()
        try:
            await check_size(client, name, input, f"the {kind.lower()} {name}")
            await client.start_workflow(
                kind,
                input,
                id=name,
                task_queue=queue or name,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=summary,
                rpc_timeout=RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return False
        except RPCError as error:
            raise ServerError(f"the Temporal server does not start {name}: {why_of(error)}") from error
        return True

    async def client(self) -> Client:
        """The connection to the server."""
        self._client = self._client or await connect(self.settings)
        return self._client

    async def _queue_before(self, name: str) -> str:
        """The queue on which work ran before; empty when the server does not tell."""
        handle = (await self.client()).get_workflow_handle(name)
        try:
            return (await handle.describe(rpc_timeout=RPC_TIMEOUT)).task_queue
        except RPCError:
            return ""

    async def _may_run(self, name: str) -> bool:
        """Whether work may run under a name although its start failed; not where no server was reached."""
        if self._client is None:
            return False
        try:
            found = await self._client.get_workflow_handle(name).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            return error.status is not RPCStatusCode.NOT_FOUND
        return found.status is WorkflowExecutionStatus.RUNNING

    async def _is_served(self, queue: str) -> bool:
        return await is_served(await self.client(), queue)

    def _withdraw(self, name: str) -> None:
        """Nothing was started: the next command is not to set it going again."""
        with suppress(SweepError):  # what kept it from being started matters more
            self.launches.close(name, self.launches.read(name).generation)
            self.launches.end(name)


def code_here() -> Code:
    """How this program was started, so that others can import what it imports."""
    path = tuple(entry for entry in map(os.path.abspath, sys.path) if not _is_pythons_own(Path(entry)))
    return Code(objective="", argv=tuple(sys.argv), cwd=str(Path.cwd()), path=path)


def _is_pythons_own(entry: Path) -> bool:
    """Whether every process of the same interpreter has an entry of ``sys.path``: it need not be told."""
    library = Path(sysconfig.get_path("stdlib"))
    packages = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    return entry in packages or entry.is_relative_to(library) or entry.parent == library.parent
