"""The worker process: serves one task queue until its work is done, or until it is told to end."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, TypeAlias

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from metta.sweep.client.connection import connect, ensure_search_attributes
from metta.sweep.client.identities import Identity
from metta.sweep.client.launches import Launch, Launches
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.activities import RUN_OBJECTIVE
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.consent import ALLOWED, EVERYTHING
from metta.sweep.contracts.errors import ServerError, SweepError
from metta.sweep.contracts.jobs import trials_queue
from metta.sweep.telemetry.endpoints import HEALTH, METRICS, Address, Endpoints
from metta.sweep.telemetry.logs import configure_logs
from metta.sweep.worker.metrics import runtime
from metta.sweep.worker.plugin import MettaSweepPlugin

if TYPE_CHECKING:
    from metta.sweep.worker.health import Health

QUEUE = "metta-sweep"
"""Task queue of workers that serve everybody."""

LOOK_S = 1.0
"""How often a worker looks whether its server lives, and that of a launch whether its work is done."""

UNBORN_S = 60.0
"""A launch whose sweep was never started is given up after this long."""

RPC_TIMEOUT = timedelta(seconds=3)

BEAT = timedelta(seconds=2)
"""So often a session's heartbeat reaches the server, which answers whether the sweep is cancelled or gone."""

AT_ONCE = timedelta(milliseconds=1)
"""The server takes no wait of zero."""

STICKY = timedelta(seconds=2)
"""So long the server waits for a worker that was killed before another one may go on with its workflow."""

log = logging.getLogger(__name__)

_IsDone: TypeAlias = Callable[[Client], Awaitable[bool]]


def main() -> None:
    """Serve the queue of a launch, or without one a shared queue."""
    parser = argparse.ArgumentParser(prog="python -m metta.sweep.worker", description=__doc__)
    parser.add_argument("--launch", help="the launch whose queue is served, until its work is done")
    parser.add_argument("--store", help="folder or address of the artifact store")
    parser.add_argument("--home", type=Path, help="folder of this machine, when the store is elsewhere")
    parser.add_argument("--queue", default="", help=f"the queue that is served without a launch: {QUEUE}")
    parser.add_argument("modules", nargs="*", help="what it registers without a launch; * for all")
    parser.add_argument("--allow", action="append", default=[], help=f"besides: {', '.join(ALLOWED)}")
    parser.add_argument("--metrics", metavar="HOST:PORT", help=f"where Prometheus finds metrics ({METRICS})")
    parser.add_argument("--health", metavar="HOST:PORT", help=f"where /healthz is answered ({HEALTH})")
    given = parser.parse_args()
    try:
        configure_logs()
        settings = Settings.load()
        if given.store:
            settings = settings.with_store(given.store)
        if given.home:
            settings = replace(settings, home=given.home.absolute())
        if given.launch:
            asyncio.run(serve_launch(settings, given.launch))
        else:
            from metta.sweep.worker.shared import Shared  # it serves by this module

            endpoints = Endpoints.load(given.metrics, given.health)
            shared = Shared(settings, given.modules, given.allow, given.queue, endpoints)
            asyncio.run(shared.served())
    except SweepError as error:
        sys.exit(f"error: {error}")


async def serve(
    settings: Settings,
    queue: str,
    code: Code,
    endpoints: Endpoints | None = None,
    began: Callable[[], None] | None = None,
) -> None:
    """Serve a queue until the process is told to end.

    Args:
        settings: Which project.
        queue: The queue.
        code: Where user code is found, and what of it may be named.
        endpoints: Where the worker can be looked at; None takes what the environment says.
        began: Called when it begins to serve; all that the environment could get wrong is found out by then.

    Raises:
        DefinitionError: When nothing can listen there.
        ServerError: When there is no server.
    """
    with Launches(settings.home).present():
        await _served(settings, queue, code, _never, endpoints or Endpoints.load(), began)


async def serve_launch(settings: Settings, name: str) -> None:
    """Serve the queue of a launch until its work is done, or until the process is told to end.

    Args:
        settings: Which project.
        name: The launch.

    Raises:
        ServerError: When there is no server and none can be started.
    """
    launches = Launches(settings.home)
    launch = launches.read(name)
    settings = replace(settings, address=launch.store)
    buried: set[str] = set()

    async def is_done(client: Client) -> bool:
        launch = launches.find(name)
        if launch is None:  # somebody deleted it
            return True
        launches.sign(name)
        return await _is_done(client, launch, buried) and launches.close(name, launch.generation)

    await _served(settings, launch.queue, launch.code, is_done, Endpoints.that_are_free())


async def _served(
    settings: Settings,
    queue: str,
    code: Code,
    is_done: _IsDone,
    endpoints: Endpoints,
    began: Callable[[], None] | None = None,
) -> None:
    named_metrics, named_health = endpoints.names
    health = _health(endpoints.health, queue, named_health)
    plugin = MettaSweepPlugin(
        settings.address or settings.home,
        code,
        home=settings.home,
        pickle=settings.may_pickle,
        **(code.consent or EVERYTHING).model_dump(),
    )
    # its version, for those who look for what is wrong
    identity = str(Identity.here())
    engine = runtime(endpoints.metrics, named_metrics)
    client = await connect(settings, plugins=[plugin], identity=identity, runtime=engine)
    if not settings.is_embedded:  # that has them from its start, and may be killed this very moment
        await ensure_search_attributes(client)
    told = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, told.set)
    shared: dict[str, Any] = {
        "max_heartbeat_throttle_interval": BEAT,
        "sticky_queue_schedule_to_start_timeout": STICKY,
    }
    slots = len(os.sched_getaffinity(0))
    worker = Worker(client, task_queue=queue, **shared)
    # it takes no more trials than it has slots: others in that queue are for other workers
    trials = Worker(client, task_queue=trials_queue(queue), max_concurrent_activities=slots, **shared)
    answering = health.of(client, [worker, trials]) if health else nullcontext()
    async with answering, worker, trials:  # it answers while they end, too
        if began:
            began()
        log.info("serving the task queue %s", queue)
        tasks = {
            asyncio.create_task(told.wait()),
            asyncio.create_task(_until_done(settings, client, is_done)),
        }
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        for task in done:
            task.result()


def _health(address: Address | None, queue: str, name: str) -> "Health | None":
    if address is None:
        return None
    from metta.sweep.worker.health import Health  # a server of its own, which most workers need not wait for

    return Health(address, queue, name)


async def _until_done(settings: Settings, client: Client, is_done: _IsDone) -> None:
    """Return when there is no more work, or no server that this worker could go on with."""
    server = EmbeddedServer(settings.home / "server")
    while True:
        try:
            if settings.is_embedded and not await _is_kept(server, client):
                return
            if await is_done(client):
                return
        except (RPCError, ServerError) as error:  # trials go on meanwhile
            log.info("the server does not answer: %s", error)
        await asyncio.sleep(LOOK_S)


async def _is_kept(server: EmbeddedServer, client: Client) -> bool:
    """Keep the embedded server alive; False when it is not the one that the client is connected to."""
    if not server.exists():
        log.warning("the store was deleted: nothing is left to do")
        return False
    found = await asyncio.to_thread(server.ensure)  # missed sooner than a call to it would fail
    if found.address != client.service_client.config.target_host:
        log.warning("the server is now at %s: the next worker goes on there", found.address)
        return False
    return True


async def _never(client: Client) -> bool:
    return False


async def _is_done(client: Client, launch: Launch, buried: set[str]) -> bool:
    """Whether no workflow of the queue is open; one that was just launched may have to be started yet."""
    root = await _root(client, launch)
    if root and root.status is WorkflowExecutionStatus.RUNNING:
        await _bury(client, root, buried)
        return False
    if root is None or (root.close_time and root.close_time.timestamp() < launch.opened_at):
        return time() - launch.opened_at > UNBORN_S
    query = f"TaskQueue = '{launch.queue}' AND ExecutionStatus = 'Running'"
    return (await client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)).count == 0


async def _bury(client: Client, root: WorkflowExecutionDescription, buried: set[str]) -> None:
    """Say that another worker is dead, which the server would notice when its heartbeats are missing.

    It is certain: nobody serves the queue of a launch but the holder of its lock.

    Args:
        client: Who says so.
        root: A workflow that is open, of which, and of whose children, the dead worker had activities.
        buried: Children for which it was said.
    """
    for child in root.raw_description.pending_children:
        if child.workflow_id not in buried:
            handle = client.get_workflow_handle(child.workflow_id, run_id=child.run_id)
            await _bury(client, await handle.describe(rpc_timeout=RPC_TIMEOUT), buried)
    buried.add(root.id)
    for pending in root.raw_description.pending_activities:
        if pending.activity_type.name == RUN_OBJECTIVE.name:  # any worker may have it
            continue
        is_started = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        if not is_started or pending.last_worker_identity == client.identity:
            continue
        execution = WorkflowExecution(workflow_id=root.id, run_id=root.run_id)
        await client.workflow_service.reset_sticky_task_queue(
            ResetStickyTaskQueueRequest(namespace=client.namespace, execution=execution), timeout=RPC_TIMEOUT
        )
        dead = client.get_async_activity_handle(
            workflow_id=root.id, run_id=root.run_id, activity_id=pending.activity_id
        )
        error = ApplicationError("its worker was killed", next_retry_delay=AT_ONCE)
        try:
            await dead.fail(error, rpc_timeout=RPC_TIMEOUT)
        except RPCError as refusal:
            if refusal.status is not RPCStatusCode.NOT_FOUND:  # its heartbeat was missed at this moment
                raise


async def _root(client: Client, launch: Launch) -> WorkflowExecutionDescription | None:
    try:
        return await client.get_workflow_handle(launch.queue).describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
