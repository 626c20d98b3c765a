"""A rig to run sweeps on: objectives in a file, a client, and a worker with the plugin in this process."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from inspect import isawaitable
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import psutil
import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from metta.sweep.client.connection import connect
from metta.sweep.client.loop import call
from metta.sweep.client.results import table_of
from metta.sweep.client.server import NAMESPACE, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.consent import EVERYTHING
from metta.sweep.contracts.sweeps import SweepStatus
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.trials import TrialTable
from metta.sweep.worker import MettaSweepPlugin

OBJECTIVES = '''
from pathlib import Path
from time import sleep


def train(params):
    return {"accuracy": params["x"]}


def gated(trial):
    """Reports until somebody opens the gate."""
    step = 0
    while not Path(trial.params.get("gate", "gate")).exists():
        step += 1
        trial.report(step=step, accuracy=trial.params["x"])
        sleep(0.02)
    return {"accuracy": trial.params["x"]}


def wrong(params):
    raise ValueError("no luck today")
'''

PATIENCE_S = 30.0

CACHE = (
    {"max_cached_workflows": int(os.environ["METTA_SWEEP_TEST_CACHE"])}
    if "METTA_SWEEP_TEST_CACHE" in os.environ
    else {}
)
"""How many workflows a worker keeps between their tasks; with 0 each task replays all that was before."""

TEMPORAL = str(Path(sys.executable).with_name("temporal"))


Handle: TypeAlias = WorkflowHandle[Any, Any]


class Rig(NamedTuple):
    """A worker on a queue of its own, the folder in which its objectives lie, and its store."""

    client: Client
    queue: str
    folder: Path
    store: FileStore

    async def start(self, definition: object, name: str | None = None) -> Handle:
        """Start a sweep as any Temporal client does, with plain JSON."""
        name = name or f"sweep-{uuid4()}"
        return await self.client.start_workflow("Sweep", definition, id=name, task_queue=self.queue)

    async def started(self, objective: str = "gated", **changes: object) -> Handle:
        """Start a sweep, and wait until its first trial runs and was heard of."""
        handle = await self.start(definition(objective, **changes))
        await until(lambda: self.table(handle.id).records and self.table(handle.id).records[0].step)
        return handle

    def open_gate(self, name: str = "gate") -> None:
        """Let all trials of `gated` end that wait for it."""
        (self.folder / name).touch()

    def table(self, name: str) -> TrialTable:
        """What the ledger of a sweep says by now."""
        return table_of(self.store.ledger(name))

    async def workflow(self, name: str, *arguments: str) -> str:
        """What the command ``temporal workflow`` says."""
        done = await self.temporal("workflow", *arguments, "--workflow-id", name)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def temporal(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the command of Temporal against the server; without blocking the worker."""
        address = self.client.service_client.config.target_host
        where = ["--address", address, "--namespace", self.client.namespace]
        return await asyncio.to_thread(
            subprocess.run, [TEMPORAL, *arguments, *where], capture_output=True, text=True, check=False
        )


@contextmanager
def serving(folder: Path) -> Iterator[Settings]:
    """A Temporal server in ``folder/server`` that can do everything, as the settings that lead to it."""
    embedded = EmbeddedServer(folder / "server")
    call(connect(Settings(folder)))  # it opens its port before that
    try:
        yield Settings(folder, {"target_host": embedded.ensure().address, "namespace": NAMESPACE})
    finally:
        embedded.stop()


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with working(server, tmp_path / "rig") as made:
        yield made


@asynccontextmanager
async def working(
    server: Settings, folder: Path, code: Code | None = None, **options: Any
) -> AsyncIterator[Rig]:
    """A worker in this process; ``options`` are the Temporal worker's."""
    made = await standing(server, folder, code)
    async with Worker(made.client, task_queue=made.queue, **{**CACHE, **options}):
        yield made


async def standing(server: Settings, folder: Path, code: Code | None = None) -> Rig:
    """A rig whose worker does not run yet."""
    folder.mkdir(exist_ok=True)
    (folder / "objectives.py").write_text(OBJECTIVES, "utf-8")
    store = FileStore(folder / "store")
    plugin = MettaSweepPlugin(store.root, code or code_in(folder), **EVERYTHING.model_dump())
    client = await Client.connect(
        str(server.connect["target_host"]), namespace=str(server.connect["namespace"]), plugins=[plugin]
    )
    return Rig(client, f"queue-{uuid4()}", folder, store)


def code_in(folder: Path) -> Code:
    return Code(objective="", cwd=str(folder), path=(str(folder),))


def pid_in(lock: Path) -> int:
    """The process that holds a lock, and says so there a moment after it has been started."""
    deadline = monotonic() + PATIENCE_S
    while not (words := lock.read_text("utf-8").split()):
        assert monotonic() < deadline, f"nobody says that he holds {lock}"
        sleep(0.01)
    return int(words[0])


def runners_of(pid: int | None = None) -> list[int]:
    """Runner processes of a worker; without a pid, of this process."""
    return [child.pid for child in psutil.Process(pid).children() if _is_runner(child)]


def _is_runner(process: psutil.Process) -> bool:
    try:
        return "metta.sweep.runners.runner" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def definition(objective: str = "train", **changes: object) -> dict[str, object]:
    """A sweep as people write it."""
    return {
        "objective": objective if ":" in objective else f"objectives:{objective}",
        "search_space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "seed": 1,
        "executor": {"type": "local", "max_parallel": 1},
        **changes,
    }


async def until(check: Callable[[], object | Awaitable[object]], poll_s: float = 0.05) -> None:
    """Wait until something holds."""
    deadline = monotonic() + PATIENCE_S
    while not (await found if isawaitable(found := check()) else found):
        assert monotonic() < deadline, f"it does not hold after {PATIENCE_S:g} s"
        await asyncio.sleep(poll_s)


async def status_of(handle: Handle) -> SweepStatus:
    status: SweepStatus = await handle.query("status", result_type=SweepStatus)
    return status


async def failure_of(handle: Handle) -> ApplicationError:
    """The error that a workflow ends with."""
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause
