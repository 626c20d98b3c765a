"""Stuck workflows: those whose tasks fail again and again, and whose activities do."""

from collections.abc import Iterator
from shlex import quote
from time import time
from typing import NamedTuple

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client

from metta.sweep.client.health.findings import Finding, healthy, not_checked
from metta.sweep.client.health.limits import RPC
from metta.sweep.client.health.running import MOST, Running, Runs
from metta.sweep.client.health.workers import SCHEDULED, STARTED

AGAIN = 3
"""Twice may happen, as when a worker is killed; what is tried for the third time does not help itself."""

WORKS_S = 60.0
"""An activity that has worked for so long has got over what it failed of before."""

EVENTS = 20
"""So many of the latest events of a history are looked through."""

SHOWN = 300
"""Characters of a failure's message."""

INDETERMINATE = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR

HARMLESS = (
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_UPDATE,
)
"""Why a task is tried again at once: something came meanwhile."""

WAITS = "the sweep goes on"
"""What ``watch_sweep`` fails with to be asked again in a minute: the server waits, and no worker has to."""


class Fault(NamedTuple):
    """Why a workflow task failed.

    Args:
        message: What it failed with.
        worker: The worker in which.
        is_indeterminate: Whether the workflow decided otherwise than its history says.
    """

    message: str
    worker: str
    is_indeterminate: bool = False


async def stuck_found(client: Client, runs: Runs, where: str) -> list[Finding]:
    """Which of what runs does not get on, children as well.

    Args:
        client: Asks the server.
        runs: What runs.
        where: Arguments with which the command ``temporal`` reaches the server.

    Raises:
        RPCError: When the server does not answer.
    """
    found: list[Finding] = []
    for running in runs.found:
        attempt = running.raw.pending_workflow_task.attempt
        if attempt > 1:
            fault = await _fault(client, running)
            if fault or attempt >= AGAIN:
                found.append(_stuck(running, attempt, fault, where))
        found += _activities(running, where)
    if runs.unseen:
        why = f"{runs.unseen} more workflows run than the {MOST} that were looked at"
        found.append(not_checked("stuck workflows", why, "warning", "cure what is told of the others first"))
    if not found:
        count = len(runs.found)
        found.append(
            healthy("stuck workflows", f"workflows that run and get on: {count}" if count else "none run")
        )
    return found


# --- workflow tasks ---


async def _fault(client: Client, running: Running) -> Fault | None:
    """Why a workflow's latest task failed; None when its history does not tell.

    The first of several failures in a row stands there; a worker is mute about the others.
    """
    execution = WorkflowExecution(workflow_id=running.id, run_id=running.run_id)
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace, execution=execution, maximum_page_size=EVENTS
    )
    answer = await client.workflow_service.get_workflow_execution_history_reverse(request, timeout=RPC)
    for event in answer.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            failed = event.workflow_task_failed_event_attributes
            if failed.cause in HARMLESS:
                return None
            return Fault(message_of(failed.failure), failed.identity, failed.cause == INDETERMINATE)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            return None
    return None


def _stuck(running: Running, attempt: int, fault: Fault | None, where: str) -> Finding:
    message = fault.message if fault else "no worker finishes it in time"
    at = f", in {fault.worker}" if fault and fault.worker else ""
    cure, command = _cure(running, fault, where)
    return Finding(
        check="stuck workflows",
        code="workflow-stuck",
        severity="problem",
        subject=running.id,
        text=f"{running.id} does not get on: its task fails (attempt {attempt}){at}: {message}",
        cure=cure,
        command=command,
    )


def _cure(running: Running, fault: Fault | None, where: str) -> tuple[str, str]:
    if fault and "not registered" in fault.message:
        return (
            f"a worker without MettaSweepPlugin takes the tasks of {running.queue}: end it, or give it"
            " another queue; the task is then tried again by itself",
            f"temporal task-queue describe --task-queue {quote(running.queue)} {where}",
        )
    if fault and (fault.is_indeterminate or "TMPRL1100" in fault.message):
        why = (
            "its worker decides otherwise than the one that began it, so it is of another version: let one of"
        )
        end = f"temporal workflow terminate --workflow-id {quote(running.id)} {where}"
        if running.id != running.root:  # whose end would not be this one's
            return f"{why} that version go on with it; or end it alone, of which {running.root} is told", end
        return (
            f"{why} that version go on with it; or end it, and begin again with all that is recorded",
            f"{end} && sweep retry {quote(running.id)}",
        )
    return (
        "mend what it says, and start its worker anew; the task is then tried again by itself",
        f"temporal workflow show --workflow-id {quote(running.id)} {where}",
    )


# --- activities ---


def _activities(running: Running, where: str) -> Iterator[Finding]:
    for pending in running.raw.pending_activities:
        if pending.paused:
            yield _paused(running, pending, where)
        elif _fails_again(pending):
            yield _retried(running, pending, where)


def _fails_again(pending: PendingActivityInfo) -> bool:
    if pending.attempt < AGAIN - 1 or message_of(pending.last_failure).startswith(WAITS):
        return False
    if pending.state == STARTED:
        is_old = time() - pending.last_started_time.ToSeconds() > WORKS_S
        return pending.attempt >= AGAIN and not is_old
    return pending.state == SCHEDULED


def _retried(running: Running, pending: PendingActivityInfo, where: str) -> Finding:
    kind = pending.activity_type.name
    next_s = pending.next_attempt_schedule_time.ToSeconds() - time()
    when = f" in {next_s:.0f} s" if next_s >= 1 else " at once"
    return Finding(
        check="stuck workflows",
        code="activity-retried",
        severity="problem" if pending.attempt >= AGAIN else "warning",
        subject=running.id,
        text=(
            f"{running.id}: the activity {kind} has failed {pending.attempt - 1} times, and is tried again"
            f"{when}: {message_of(pending.last_failure)}"
        ),
        cure="mend what it says; it then goes on by itself",
        command=f"temporal workflow describe --workflow-id {quote(running.id)} {where}",
    )


def _paused(running: Running, pending: PendingActivityInfo, where: str) -> Finding:
    given = f"--workflow-id {quote(running.id)} --activity-id {quote(pending.activity_id)}"
    return Finding(
        check="stuck workflows",
        code="activity-paused",
        severity="warning",
        subject=running.id,
        text=f"{running.id}: somebody has paused the activity {pending.activity_type.name}",
        cure="let it go on",
        command=f"temporal activity unpause {given} {where}",
    )


def message_of(failure: Failure) -> str:
    """What a failure says, and what it was caused by at the bottom; cut when it is long."""
    inner = failure
    while inner.HasField("cause"):
        inner = inner.cause
    said = failure.message.strip()
    if inner is not failure and inner.message.strip() not in said:
        said = f"{said}: {inner.message.strip()}"
    return said if len(said) <= SHOWN else f"{said[: SHOWN - 3]}..."
