"""Orphans: workers, launches, records and workflows that have lost what they belong to."""

from collections.abc import Sequence
from datetime import timedelta
from shlex import quote
from time import time
from urllib.parse import unquote

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus

from metta.sweep.client.detached import wait_until_free
from metta.sweep.client.health.findings import FIX, Finding, Severity
from metta.sweep.client.health.limits import RPC
from metta.sweep.client.health.places import LaunchesHere
from metta.sweep.client.health.records import Record
from metta.sweep.client.health.running import Running, Runs, described_of
from metta.sweep.client.launches import Launches
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import ServerError

UNBORN_S = 60.0
"""What was launched or begun so recently may still come."""

LEAVING_S = 5.0
"""A worker whose work is done is gone by then."""

MOST = 50
"""So many records that have no end are asked for; the latest of them say enough."""


def damaged_launches(launches: Launches) -> list[Finding]:
    """Files that do not tell any more how a worker is started."""
    return [
        Finding(
            check="orphans",
            code="launch-damaged",
            severity="problem",
            subject=str(file),
            text=f"{file} does not tell how a worker is started, so that nobody brings it back",
            cure=(
                "delete it; if its work is unfinished, this goes on with it:"
                f" `sweep retry {quote(unquote(file.stem))}`"
            ),
            command=f"rm {quote(str(file))}",
        )
        for file in launches.unreadable()
    ]


def passed_over(launches: LaunchesHere, records: Sequence[Record]) -> list[Finding]:
    """What is passed over, because its launch says that its work is elsewhere: one note for all of it.

    Args:
        launches: Of the project.
        records: What is recorded.
    """
    opened = {record.name for record in unended(records)}
    places = {
        name: place or "a server that Temporal's configuration does not tell any more"
        for name, (launch, place) in launches.elsewhere().items()
        if not launch.closed or launches.is_alive(name) or name in opened
    }
    if not places:
        return []
    told = "; ".join(f"{name} on {place}" for name, place in places.items())
    return [
        Finding(
            check="orphans",
            code="launch-elsewhere",
            severity="note",
            subject=", ".join(places),
            text=f"what was launched for another server or store is passed over: {told}",
            cure="look from where TEMPORAL_* and the store are as they were for it",
        )
    ]


def idle_launches(launches: Launches, runs: Runs, fix: bool) -> list[Finding]:
    """Launches that are unfinished while nothing runs that they are for.

    Args:
        launches: Of the project.
        runs: What runs.
        fix: Whether they are closed.
    """
    found = []
    for name in launches.unfinished():
        launch = launches.find(name)
        is_over = name in runs.closed and name not in runs.queues
        if launch is None or not is_over or launches.is_alive(name):
            continue
        if time() - launch.opened_at < UNBORN_S:
            continue
        idle = Finding(
            check="orphans",
            code="launch-idle",
            severity="problem",
            subject=name,
            text=f"the launch of {name} is unfinished, and Temporal knows no running workflow for it",
            cure="close it, or each command starts a worker that has nothing to do",
            command=FIX,
        )
        if fix and launches.close(name, launch.generation):
            idle = idle.mended("closed the launch")
        found.append(idle)
    return found


def idle_workers(launches: Launches, runs: Runs, fix: bool) -> list[Finding]:
    """Workers that live while nothing runs that they are for.

    Args:
        launches: Of the project.
        runs: What runs.
        fix: Whether they are ended.
    """
    found = []
    for name in launches.living():
        launch = launches.find(name)
        is_young = launch is not None and time() - launch.opened_at < UNBORN_S and not launch.closed
        if name.startswith("process ") or name in runs.queues or is_young:
            continue
        lock = launches.lock(name)
        if wait_until_free(lock, LEAVING_S):
            continue
        pid = lock.read_text("utf-8").split()[:1]
        why = "nobody has launched it" if launch is None else "no workflow is open that it works for"
        idle = Finding(
            check="orphans",
            code="worker-idle",
            severity="problem",
            subject=name,
            text=f"the worker of {name} lives (process {' '.join(pid) or 'unknown'}), and {why}",
            cure="end it",
            command=FIX,
        )
        found.append(_ended(idle, name, launches) if fix else idle)
    return found


def _ended(idle: Finding, name: str, launches: Launches) -> Finding:
    try:
        launches.end(name)
    except ServerError as error:
        return idle.model_copy(
            update={"cure": str(error), "command": f"fuser -k {quote(str(launches.lock(name)))}"}
        )
    return idle.mended("ended it")


async def open_records(client: Client, records: Sequence[Record], runs: Runs) -> list[Finding]:
    """Sweeps and experiments whose end is not recorded, and that Temporal does not run.

    Args:
        client: Asks the server.
        records: What is recorded.
        runs: What runs.

    Raises:
        RPCError: When the server does not answer.
    """
    kept = await _retention(client)
    candidates = [
        record for record in unended(records) if not runs.concerns(record.name) and not _is_young(record.at)
    ]
    found = []
    for record in sorted(candidates, key=lambda record: -record.at)[:MOST]:
        described = await described_of(client, record.name)
        status = described.status if described else None
        if status is not WorkflowExecutionStatus.RUNNING:
            found.append(_open(record, status, time() - record.at < kept.total_seconds()))
    return found


def unended(records: Sequence[Record]) -> list[Record]:
    """Records without an end; what runs within others is theirs."""
    return [record for record in records if record.has_ended is False and "/" not in record.name]


def unasked(records: Sequence[Record]) -> list[Finding]:
    """The same where no server runs that could be asked."""
    return [
        Finding(
            check="orphans",
            code="record-open",
            severity="warning",
            subject=record.name,
            text=f"the {record.kind} {record.name} has not ended as far as is recorded, and no server runs",
            cure="look whether it goes on: this starts the server",
            command=f"sweep show {quote(record.name)}",
        )
        for record in unended(records)
        if not _is_young(record.at)
    ]


def foreign_workflows(settings: Settings, records: Sequence[Record], runs: Runs, where: str) -> list[Finding]:
    """Workflows that run and of which nothing is recorded in this store.

    Args:
        settings: Which store and server.
        records: What is recorded.
        runs: What runs.
        where: Arguments with which the command ``temporal`` reaches the server.
    """
    known = {record.name for record in records}
    found = [
        running.id
        for running in runs.found
        if running.kind != "Trial" and running.root not in known and _could_be_recorded(running)
    ]
    return [_foreign(id, settings, where) for id in found]


def _is_young(at: float) -> bool:
    return time() - at < UNBORN_S


async def _retention(client: Client) -> timedelta:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    found = await client.workflow_service.describe_namespace(request, timeout=RPC)
    return found.config.workflow_execution_retention_ttl.ToTimedelta()


def _open(record: Record, status: WorkflowExecutionStatus | None, is_remembered: bool) -> Finding:
    """What is said of a record without an end, by what became of its workflow."""
    severity: Severity = "warning"
    if status is WorkflowExecutionStatus.CANCELED:
        severity, why = "note", "was cancelled"
    elif status is not None:
        why = f"ended without recording it: its workflow is {status.name.lower().replace('_', ' ')}"
    elif is_remembered:
        severity, why = "problem", "has not ended, and Temporal knows no workflow for it"
    else:
        why = "has not ended, and Temporal, which forgets what is over, knows no workflow for it"
    return Finding(
        check="orphans",
        code="record-open",
        severity=severity,
        subject=record.name,
        text=f"the {record.kind} {record.name} {why}",
        cure="this continues it; nothing that is recorded is done again",
        command=f"sweep retry {quote(record.name)}",
    )


def _could_be_recorded(running: Running) -> bool:
    """Not so what waits for a worker, which is told elsewhere."""
    return running.has_begun and not _is_young(running.began)


def _foreign(id: str, settings: Settings, where: str) -> Finding:
    return Finding(
        check="orphans",
        code="workflow-foreign",
        severity="warning" if settings.is_embedded else "note",
        subject=id,
        text=f"{id} runs, and nothing of it is recorded in {settings.address or settings.home}",
        cure="it belongs to another store, whose project is to be asked; or else end it",
        command=f"temporal workflow describe --workflow-id {quote(id)} {where}",
    )
