"""The worker process: serves one task queue until its work is done, or until it is told to end."""

import argparse
import asyncio
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from metta.sweep.client.connection import connect, ensure_search_attributes
from metta.sweep.client.launches import Launch, Launches
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import code_here
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import SweepError
from metta.sweep.worker.plugin import MettaSweepPlugin

QUEUE = "metta-sweep"
"""Task queue of workers that serve everybody."""

LOOK_S = 1.0
"""How often the worker of a launch looks whether its work is done."""

UNBORN_S = 60.0
"""A launch whose sweep was never started is given up after this long."""

log = logging.getLogger(__name__)


def main() -> None:
    """Serve the queue of a launch, or without one the queue ``metta-sweep``."""
    parser = argparse.ArgumentParser(prog="python -m metta.sweep.worker", description=__doc__)
    parser.add_argument("--launch", help="the launch whose queue is served, until its work is done")
    parser.add_argument("--store", type=Path, help="folder of the artifact store")
    parser.add_argument("--queue", default=QUEUE, help="the queue that is served without a launch")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings.load()
    if given.store:
        settings = replace(settings, store=given.store)
    try:
        if given.launch:
            asyncio.run(serve_launch(settings, given.launch))
        else:
            asyncio.run(serve(settings, given.queue, code_here()))
    except SweepError as error:
        sys.exit(f"error: {error}")


async def serve(settings: Settings, queue: str, code: Code) -> None:
    """Serve a queue until the process is told to end.

    Raises:
        ServerError: When there is no server.
    """
    client = await _client(settings, code)
    async with Worker(client, task_queue=queue):
        log.info("serving the task queue %s", queue)
        await _told_to_end().wait()


async def serve_launch(settings: Settings, name: str) -> None:
    """Serve the queue of a launch until its work is done, or until the process is told to end.

    Raises:
        ServerError: When there is no server and none can be started.
    """
    launches = Launches(settings.store)
    launches.sign(name)
    launch = launches.read(name)
    end = _told_to_end()
    client = await _client(settings, launch.code)
    async with Worker(client, task_queue=launch.queue):
        log.info("serving the task queue %s", launch.queue)
        work = asyncio.create_task(_until_done(settings, client, launches, name))
        told = asyncio.create_task(end.wait())
        done, waiting = await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        for task in done:
            task.result()


async def _client(settings: Settings, code: Code) -> Client:
    client = await connect(settings, plugins=[MettaSweepPlugin(settings.store, code)])
    await ensure_search_attributes(client)
    return client


def _told_to_end() -> asyncio.Event:
    """Set when somebody sends SIGTERM or SIGINT."""
    told = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, told.set)
    return told


async def _until_done(settings: Settings, client: Client, launches: Launches, name: str) -> None:
    """Return when no workflow of the queue is open; keep the embedded server alive meanwhile."""
    began = monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        launch = launches.read(name)
        try:
            is_done = await _is_done(client, launch, monotonic() - began)
        except RPCError as error:
            log.info("the server does not answer: %s", error)
            if settings.is_embedded:
                await asyncio.to_thread(EmbeddedServer(settings.store / "server").ensure)
            continue
        if is_done and launches.close(name, launch.generation):
            return


async def _is_done(client: Client, launch: Launch, age_s: float) -> bool:
    try:
        root = await client.get_workflow_handle(launch.queue).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return age_s > UNBORN_S
        raise
    if root.status is WorkflowExecutionStatus.RUNNING:
        return False
    query = f"TaskQueue = '{launch.queue}' AND ExecutionStatus = 'Running'"
    return (await client.count_workflows(query)).count == 0
