"""What tests of faults around jobs share: rigs that leave no job behind, and how sweeps on them end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from tests.rig import Handle, Rig, until, working
from tests.workflows.test_job_lane import BEAT, jobs_of

END_S = 30.0
"""All sweeps here end by then, or never."""

AT_ONCE = timedelta(0)


@asynccontextmanager
async def brisk(server: Settings, folder: Path) -> AsyncIterator[Rig]:
    """A rig whose worker soon hears that something is cancelled."""
    with cleared(folder):
        async with working(server, folder, max_heartbeat_throttle_interval=BEAT) as made:
            yield made


@contextmanager
def cleared(folder: Path) -> Iterator[None]:
    """A folder in which no job is left."""
    try:
        yield
    finally:
        (folder / "gate").touch()
        for process in _standing_in(folder):
            with suppress(psutil.Error):
                process.kill()


def _standing_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder) and process.pid != psutil.Process().pid:
                found.append(process)
    return found


async def ended(handle: Handle) -> str:
    """Why a sweep is over, once it is."""
    async with asyncio.timeout(END_S):
        result = await handle.result()
    return str(result["reason"])


def child_of(rig: Rig, handle: Handle) -> Handle:
    """The workflow of a sweep's first trial."""
    return rig.client.get_workflow_handle(f"{handle.id}/trial-0/seg-0/try-1")


async def is_deserted(rig: Rig) -> None:
    """Wait until no process of a job is left."""
    await until(lambda: not jobs_of(rig))


@asynccontextmanager
async def serving(rig: Rig, **options: Any) -> AsyncIterator[None]:
    """A worker for Python objectives, which ends without waiting for them."""
    async with Worker(
        rig.client, task_queue=f"{rig.queue}-trials", graceful_shutdown_timeout=AT_ONCE, **options
    ):
        yield


def settings_of(environment: WorkflowEnvironment) -> Settings:
    """What leads to a server."""
    config = environment.client.service_client.config
    return Settings(Path(), {"target_host": config.target_host, "namespace": environment.client.namespace})
