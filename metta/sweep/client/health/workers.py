"""Workers: whether what runs has one, that lives, and is of the right version."""

from collections.abc import Iterable, Iterator
from shlex import join, quote
from time import time
from typing import NamedTuple

from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from metta.sweep.client.health.findings import FIX, Finding, healthy
from metta.sweep.client.health.limits import RPC
from metta.sweep.client.health.running import Runs
from metta.sweep.client.health.versions import versions_found
from metta.sweep.client.identities import Identity
from metta.sweep.client.launches import Launches
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.jobs import trials_queue

YOUNG_S = 10.0
"""What began later may still wait for its worker to be there."""

FRESH_S = 75.0
"""A worker that lives asks for work at least so often; the server lists dead ones for some minutes."""

STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
SCHEDULED = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


class Served(NamedTuple):
    """A task queue, and whoever serves it.

    Args:
        queue: The queue.
        kind: Which tasks.
        workers: Those that ask for such tasks, and live.
    """

    queue: str
    kind: TaskQueueType.ValueType
    workers: frozenset[Identity]


def launches_found(launches: Launches, runs: Runs | None, fix: bool) -> list[Finding]:
    """What is wrong with the detached workers of this machine.

    Args:
        launches: Of the project.
        runs: What runs; None when nobody can tell.
        fix: Whether dead ones are started.
    """
    found = []
    for name in launches.unfinished():
        is_wanted = runs is None or name in runs.queues
        if not is_wanted or launches.is_alive(name):
            continue
        if failure := launches.failure(name):
            found.append(_dies(name, failure, launches, fix))
            continue
        dead = Finding(
            check="workers",
            code="worker-dead",
            severity="problem",
            subject=name,
            text=f"the worker of {name} does not live, so that nothing of it goes on",
            cure="start it again; any command does that, too",
            command=FIX,
        )
        found.append(_started(dead, name, launches) if fix else dead)
    return found


async def queues_found(
    client: Client, settings: Settings, runs: Runs, launches: Launches, dead: Iterable[str], fix: bool
) -> list[Finding]:
    """What is wrong with those who serve the queues of what runs.

    Args:
        client: Asks the server.
        settings: Which server that is.
        runs: What runs.
        launches: Of the project.
        dead: Queues of which it was told already that they have no worker.
        fix: Whether a worker is started where one was launched before.

    Raises:
        RPCError: When the server does not answer.
    """
    found: list[Finding] = []
    versions: dict[str, set[Identity]] = {}
    told = {*dead}
    for queue, kind in sorted(_wanted(runs)):  # so that a queue comes before that of its trials
        served = await served_by(client, queue, kind, settings.is_embedded)
        is_told = queue in told or (kind == ACTIVITIES and _base(queue) in told)
        if not served.workers and not is_told and not _is_busy(runs, queue, kind):
            found.append(_unserved(queue, runs, launches, settings, fix))
            told.add(queue)
        versions.setdefault(queue, set()).update(served.workers)
    for queue, workers in versions.items():
        found += versions_found(queue, workers)
    if not found and not told:
        count = len({worker for workers in versions.values() for worker in workers})
        text = f"task queues that are served: {len(versions)}, by workers: {count}"
        found.append(healthy("workers", text if versions else "nothing runs that waits for one"))
    return found


async def served_by(client: Client, queue: str, kind: TaskQueueType.ValueType, is_embedded: bool) -> Served:
    """Whoever serves a queue.

    Args:
        client: Asks the server.
        queue: The queue.
        kind: Which of its tasks.
        is_embedded: Whether all workers are on this machine, so that the dead ones can be told.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=RPC)
    fresh = [Identity.parse(poller.identity) for poller in answer.pollers if _is_fresh(poller)]
    alive = frozenset(worker for worker in fresh if not (is_embedded and worker.is_gone))
    return Served(queue, kind, alive)


def _is_fresh(poller: PollerInfo) -> bool:
    return time() - poller.last_access_time.ToSeconds() < FRESH_S


def _wanted(runs: Runs) -> set[tuple[str, TaskQueueType.ValueType]]:
    """Queues from which tasks of what runs are taken."""
    wanted = set()
    for running in runs.found:
        if time() - running.began < YOUNG_S:
            continue
        wanted.add((running.queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW))
        for pending in running.raw.pending_activities:
            queue = pending.activity_options.task_queue.name or running.queue
            if pending.state == SCHEDULED:
                wanted.add((queue, ACTIVITIES))
    return wanted


def _is_busy(runs: Runs, queue: str, kind: TaskQueueType.ValueType) -> bool:
    """Whether somebody works on activities of a queue: one whose slots are taken does not ask for more."""
    return kind == ACTIVITIES and any(
        pending.state == STARTED and (pending.activity_options.task_queue.name or running.queue) == queue
        for running in runs.found
        for pending in running.raw.pending_activities
    )


def _base(queue: str) -> str:
    """The queue whose worker serves this one, too."""
    return queue.removesuffix(trials_queue(""))


def _unserved(queue: str, runs: Runs, launches: Launches, settings: Settings, fix: bool) -> Finding:
    names = list(dict.fromkeys(_waiting(runs, queue)))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    name = queue if launches.find(queue) else _base(queue)
    is_launched = launches.find(name) is not None
    own = f"let its own worker be started; `sweep attach {quote(name)}` does that, too"
    cure, command = (own, FIX) if is_launched else _by_hand(name, settings)
    found = Finding(
        check="workers",
        code="queue-unserved",
        severity="problem",
        subject=queue,
        text=f"no worker serves the task queue {queue}, and so {', '.join(names[:3])}{more} cannot go on",
        cure=cure,
        command=command,
    )
    if is_launched and launches.is_alive(name):
        cure = "its worker lives and does not ask for work, so it hangs: end it, and look again"
        return found.model_copy(update={"cure": cure, "command": "sweep dev --stop && sweep ls"})
    return _started(found, name, launches) if is_launched and fix else found


def _waiting(runs: Runs, queue: str) -> Iterator[str]:
    for running in runs.found:
        queues = {pending.activity_options.task_queue.name for pending in running.raw.pending_activities}
        if queue == running.queue or queue in queues:
            yield running.root


def _by_hand(queue: str, settings: Settings) -> tuple[str, str]:
    """The cure where nobody has launched a worker: which modules one is for, nobody but people can tell."""
    if settings.is_embedded and queue == "metta-sweep":
        return "start a worker for it", "sweep dev"
    where = join(["--queue", queue, "--store", settings.address or str(settings.home)])
    if settings.worker.modules:  # else it would take nothing
        return "start a worker for it, where the code is that it takes", f"sweep worker {where}"
    return f"start a worker for it, with the modules that it is to take: `sweep worker MODULES {where}`", ""


def _started(finding: Finding, name: str, launches: Launches) -> Finding:
    launches.reopen(name)
    return finding.mended(f"started the worker of {name}")


def _dies(name: str, failure: str, launches: Launches, fix: bool) -> Finding:
    log = launches.lock(name).with_suffix(".log")
    dies = Finding(
        check="workers",
        code="worker-dies",
        severity="problem",
        subject=name,
        text=failure,
        cure="mend what it dies of, and start it again",
        command=f"tail -n 50 {quote(str(log))}",
    )
    if fix:
        launches.reopen(name)
        return dies.model_copy(update={"cure": f"{dies.cure}: it was tried again just now"})
    return dies
