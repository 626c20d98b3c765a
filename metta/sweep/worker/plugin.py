"""The plugin: everything a Temporal client or worker needs to run sweeps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from metta.sweep.activities.search_session import SearchSessions
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import SweepError
from metta.sweep.stores.files import FileStore
from metta.sweep.workflows.sweep import Sweep

GRACE = timedelta(seconds=15)
"""A worker that is told to end gives its sessions this long to be closed."""


class MettaSweepPlugin(SimplePlugin):
    """Adds sweeps to your own Temporal client or worker.

    Give it to the client; workers made from that client inherit it::

        client = await Client.connect("localhost:7233", plugins=[MettaSweepPlugin()])
        worker = Worker(client, task_queue="metta-sweep")

    A codec, failure converter or external storage of yours stays in place.

    Args:
        store: Folder of the artifact store.
        code: Where user code is found; None means as in this process.
    """

    def __init__(self, store: Path | str = ".metta-sweep", code: Code | None = None) -> None:
        # shared by all workers of this process: one adopts the session that another has parked
        self._sessions = SearchSessions(FileStore(Path(store)), code or Code(objective=""))
        self._workers = 0
        super().__init__(
            "metta.sweep",
            data_converter=_with_pydantic,
            workflow_runner=_with_passthrough,
            workflows=[Sweep],
            activities=[self._sessions.run_search_session],
            run_context=self._attended,
            # a wrong input or a mistake of the user ends a workflow; other errors of workflow code
            # are ours, and wait for a mended worker
            workflow_failure_exception_types=[ValidationError, SweepError, ExceptionGroup],
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Give sessions time to be closed when a worker ends."""
        if not config.get("graceful_shutdown_timeout"):  # the engine's own default is none
            config["graceful_shutdown_timeout"] = GRACE
        return super().configure_worker(config)

    @asynccontextmanager
    async def _attended(self) -> AsyncIterator[None]:
        """Close the sessions that are left when the last worker ends."""
        self._workers += 1
        try:
            yield
        finally:
            self._workers -= 1
            if self._workers == 0:
                await self._sessions.close()


def _with_pydantic(converter: DataConverter | None) -> DataConverter:
    return replace(converter or DataConverter.default, payload_converter_class=PydanticPayloadConverter)


def _with_passthrough(runner: WorkflowRunner | None) -> WorkflowRunner:
    """Contracts are plain data: importing them anew for each workflow would cost, and gain nothing."""
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner or SandboxedWorkflowRunner()
    restrictions = runner.restrictions.with_passthrough_modules("metta.sweep.contracts", "pydantic")
    return replace(runner, restrictions=restrictions)
