"""The plugin: everything a Temporal client or worker needs to run sweeps and experiments."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from metta.sweep.activities.advances import SearchAdvances
from metta.sweep.activities.experiments import ExperimentTrials
from metta.sweep.activities.leftovers import end_leftovers
from metta.sweep.activities.objectives import ObjectiveRuns
from metta.sweep.activities.search_session import SearchSessions
from metta.sweep.activities.spending import SpentCounts
from metta.sweep.activities.stages import StageActivities
from metta.sweep.activities.trials import TrialRuns
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.components import imported
from metta.sweep.contracts.consent import EVERY, Consent
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.models import parse
from metta.sweep.contracts.references import Reference
from metta.sweep.stages.host import StageHost
from metta.sweep.stages.messages import Setting
from metta.sweep.stages.processes import StageProcesses
from metta.sweep.stores.urls import HOME, store_of
from metta.sweep.telemetry.tracing import interceptors
from metta.sweep.worker.observing import Observing
from metta.sweep.workflows.experiment import Experiment
from metta.sweep.workflows.sweep import Sweep
from metta.sweep.workflows.trial import Trial

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

GRACE = timedelta(seconds=15)
"""A worker that is told to end gives its sessions this long to be closed."""


ATTENDED = 2_000
"""So many sessions, stages and jobs a worker attends, unless it is told otherwise. They wait for processes,
and what records must not wait for them: the engine's own default is 100."""


class MettaSweepPlugin(SimplePlugin):
    """Adds sweeps and experiments to your own Temporal client or worker.

    Give it to the client; workers made from that client inherit it::

        plugin = MettaSweepPlugin(modules=["my_lab"])
        client = await Client.connect("localhost:7233", plugins=[plugin])
        worker = Worker(client, task_queue="metta-sweep")

    A codec, failure converter or external storage of yours stays in place, and so does a payload converter
    derived from pydantic's.

    Args:
        store: Folder or address (``s3://bucket/prefix``) of the artifact store.
        home: Folder of this machine, for what trials work with when the store is elsewhere.
        code: Where user code is found; None means as in this process.
        pickle: Whether what flows between stages may be pickled into the store, where nothing else can
            keep it. Whoever can write to the store can then run code in the workers.
        modules: Which code workflows may name: these modules and all below them, besides ``metta.sweep``. By
            default that is nothing else, for whoever may start workflows on your queue says what is run.
            A worker imports them before it begins. ``["*"]`` stands for all there are.
        commands: Whether trials may be programs (``Job``).
        scripts: Whether code may be named by the path of a script.
        by_value: Whether code may come out of the store by value (cloudpickle), as that of notebooks does.
        tracer_provider: OpenTelemetry's provider that makes spans of clients, workflows, activities and
            attempts; None takes what ``METTA_SWEEP_TRACES`` says. With a tracing plugin of your own beside
            this one neither is needed: attempts are spans below those that it makes.

    Raises:
        DefinitionError: When a module has no name; by the client, when its payload converter knows nothing
            of pydantic; by a worker whose client has not got the plugin, or when a module cannot be imported.
    """

    def __init__(
        self,
        store: Path | str = HOME,
        code: Code | None = None,
        *,
        home: Path = HOME,
        pickle: bool = False,
        modules: Iterable[str] = (),
        commands: bool = False,
        scripts: bool = False,
        by_value: bool = False,
        tracer_provider: "TracerProvider | None" = None,
    ) -> None:
        given = {"modules": [*modules], "commands": commands, "scripts": scripts, "by_value": by_value}
        self._consent = parse(Consent, given, "MettaSweepPlugin")
        artifacts, code = store_of(store, home), code or Code(objective="")
        code = code.model_copy(update={"consent": self._consent})
        setting = Setting(code=code, store=artifacts.address, home=home.absolute(), pickle=pickle)
        # shared by all workers of this process: one adopts the session that another has parked
        self._sessions = SearchSessions(artifacts, code)
        self._processes = StageProcesses(setting)
        stages = StageActivities(StageHost(artifacts, self._processes))
        self._advances = SearchAdvances(artifacts, self._consent)
        self._objectives = ObjectiveRuns(artifacts, code, slots=len(os.sched_getaffinity(0)))
        self._workers = 0
        self._observing = Observing(tracer_provider)
        super().__init__(
            "metta.sweep",
            data_converter=_with_pydantic,
            workflow_runner=_with_passthrough,
            workflows=[Sweep, Trial, Experiment],
            activities=[
                self._sessions.run_search_session,
                *self._advances.all,
                end_leftovers,
                *TrialRuns(artifacts, code).all,
                *self._objectives.all,
                *ExperimentTrials(artifacts, self._consent).all,
                *SpentCounts(artifacts).all,
                *stages.all,
            ],
            interceptors=interceptors(tracer_provider),
            run_context=self._attended,
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Give sessions time to be closed when a worker ends, and let it attend many jobs."""
        client = config.get("client")
        if not client or not issubclass(
            client.data_converter.payload_converter_class, PydanticPayloadConverter
        ):
            problem = "give MettaSweepPlugin to the client; workers made from that client inherit it"
            raise DefinitionError([problem], "the worker's plugins")
        import_registered(self._consent.modules)
        if not config.get("graceful_shutdown_timeout"):  # the engine's own default is none
            config["graceful_shutdown_timeout"] = GRACE
        if not config.get("max_concurrent_activities") and not config.get("tuner"):
            config["max_concurrent_activities"] = ATTENDED
        config["interceptors"] = [*config.get("interceptors", ()), self._observing]
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
                self._advances.close()
                await self._objectives.close()
                await self._processes.close()


def import_registered(modules: Iterable[str]) -> None:
    """Import what a worker registers.

    Raises:
        DefinitionError: With all that cannot be imported, and why.
    """
    problems: list[str] = []
    for name in modules:
        try:
            if name != EVERY:
                imported(Reference("module", name, ""), name)
        except DefinitionError as error:
            problems += error.problems
    if problems:
        raise DefinitionError(problems, "the modules of the worker")


def _with_pydantic(converter: DataConverter | None) -> DataConverter:
    converter = converter or DataConverter.default
    kind = converter.payload_converter_class
    if issubclass(kind, PydanticPayloadConverter):
        return converter
    if kind is DefaultPayloadConverter:
        return replace(converter, payload_converter_class=PydanticPayloadConverter)
    problem = f"sweeps are sent by pydantic's payload converter: derive {kind.__name__} from it"
    raise DefinitionError([problem], "the client's data converter")


def _with_passthrough(runner: WorkflowRunner | None) -> WorkflowRunner:
    """Contracts are plain data: importing them anew for each workflow would cost, and gain nothing."""
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner or SandboxedWorkflowRunner()
    restrictions = runner.restrictions.with_passthrough_modules("metta.sweep.contracts", "pydantic")
    return replace(runner, restrictions=restrictions)
