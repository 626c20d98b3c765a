"""What runs: the workflows of this package that are open in the namespace, each looked at."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client.health.limits import RPC

QUERY = "ExecutionStatus = 'Running' AND WorkflowType IN ('Sweep', 'Experiment', 'Trial')"

MOST = 400
"""So many workflows are looked at; of a sweep with thousands of trials, these say enough."""

AT_ONCE = 8


@dataclass(frozen=True)
class Running:
    """A workflow that is open.

    Args:
        id: Its id.
        run_id: Its run.
        kind: Its type.
        queue: Its task queue.
        began: When this run began, in seconds since 1970.
        raw: What the server says of it.
    """

    id: str
    run_id: str
    kind: str
    queue: str
    began: float
    raw: DescribeWorkflowExecutionResponse

    @property
    def name(self) -> str:
        """The sweep or experiment that it is, or whose trial it is."""
        return self.id.rpartition("/trial-")[0] if self.kind == "Trial" else self.id

    @property
    def has_begun(self) -> bool:
        """Whether a worker has ever taken it; two events stand in its history before that."""
        return self.raw.workflow_execution_info.history_length > 2

    @property
    def root(self) -> str:
        """The sweep or experiment within which all of it runs."""
        return self.id.split("/")[0]


@dataclass
class Runs:
    """All that runs.

    Args:
        found: Workflows that are open, and were looked at.
        unseen: How many others there are.
        closed: Statuses of launched workflows that are not open; None where Temporal knows none.
    """

    found: list[Running] = field(default_factory=list)
    unseen: int = 0
    closed: dict[str, WorkflowExecutionStatus | None] = field(default_factory=dict)

    @property
    def queues(self) -> set[str]:
        """Task queues of what is open."""
        return {running.queue for running in self.found}

    def concerns(self, name: str) -> bool:
        """Whether something runs, or an experiment that it is a part of."""
        names = {running.name for running in self.found}
        parts = name.split("/")
        return any("/".join(parts[:n]) in names for n in range(1, len(parts) + 1))


async def runs_of(client: Client, launched: Iterable[str]) -> Runs:
    """Look at everything of this package that runs.

    Args:
        client: Asks the server.
        launched: Names of launches that are not finished; lists may not know yet what was just started.

    Raises:
        RPCError: When the server does not answer.
    """
    runs = Runs()
    listed: dict[str, str] = {}
    async for one in client.list_workflows(QUERY, rpc_timeout=RPC):
        listed[one.id] = one.workflow_type
    listed |= {name: listed.get(name, "") for name in launched}
    ids = sorted(listed, key=lambda id: (listed[id] == "Trial", id))  # of those there may be thousands
    runs.unseen = max(0, len(ids) - MOST)
    permits = asyncio.Semaphore(AT_ONCE)

    async def look(id: str) -> None:
        async with permits:
            described = await described_of(client, id)
        if described and described.status is WorkflowExecutionStatus.RUNNING:
            runs.found.append(_running(described))
        elif id in launched:
            runs.closed[id] = described.status if described else None

    await asyncio.gather(*(look(id) for id in islice(ids, MOST)))
    runs.found.sort(key=lambda running: running.id)
    return runs


async def described_of(client: Client, id: str) -> WorkflowExecutionDescription | None:
    """What Temporal knows of a workflow; None when that is nothing."""
    try:
        return await client.get_workflow_handle(id).describe(rpc_timeout=RPC)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


def _running(found: WorkflowExecutionDescription) -> Running:
    return Running(
        found.id,
        found.run_id,
        found.workflow_type,
        found.task_queue,
        found.start_time.timestamp(),
        found.raw_description,
    )
