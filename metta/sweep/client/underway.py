"""Underway: which sweeps and experiments of a project run now, or may."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from temporalio.client import WorkflowExecution
from temporalio.service import RPCError

from metta.sweep.client.runs import RPC_TIMEOUT, STATES, silent, why_of
from metta.sweep.client.server import EmbeddedServer
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.sweeps import SweepState

QUERY = "ExecutionStatus = 'Running' AND WorkflowType IN ('Sweep', 'Experiment'{})"


FAILED = "ExecutionStatus = 'Failed' AND WorkflowType IN ('Sweep', 'Experiment') AND CloseTime > '{}'"

RECENT = timedelta(days=1)
"""What failed before it recorded anything is listed for so long."""

MOST = 100
"""So many of those at most: nobody asks a server each second for all that ever failed."""


class Listed(NamedTuple):
    """What Temporal lists of a workflow.

    Args:
        kind: Its type.
        queue: Its task queue.
        state: What it does, or has become.
    """

    kind: str
    queue: str
    state: SweepState


class Underway(NamedTuple):
    """What runs now.

    Args:
        names: Names of sweeps and experiments; those that were launched are among them.
        listed: Those that Temporal lists, by name; of one whose trials run what was listed last.
        since: When the first of their workflows began, in seconds since 1970; a workflow that was continued
            began anew. Infinity when none runs.
        doubt: Why nobody can tell whether others run, too; empty when it is known.
    """

    names: frozenset[str] = frozenset()
    since: float = inf
    doubt: str = ""
    listed: Mapping[str, Listed] = MappingProxyType({})

    def concerns(self, name: str) -> bool:
        """Whether something runs, or an experiment that it is a part of."""
        parts = name.split("/")
        return any("/".join(parts[:n]) in self.names for n in range(1, len(parts) + 1))


async def underway(starts: Starts, trials: bool = True) -> Underway:
    """Ask Temporal what runs; what is launched counts as running in any case.

    Args:
        starts: Of the project.
        trials: Whether it is asked for trials, too, which may be many.
    """
    launched, listed = frozenset(starts.launches.unfinished()), dict[str, Listed]()
    if starts.settings.is_embedded and not EmbeddedServer(starts.settings.home / "server").exists():
        return Underway(launched)  # nothing was ever started
    since = inf
    try:
        client = await starts.client()
        query = QUERY.format(", 'Trial'" if trials else "")
        async for found in client.list_workflows(query, rpc_timeout=RPC_TIMEOUT):
            name = found.id.rpartition("/trial-")[0] or found.id
            listed[name] = _listed(found)
            since = min(since, found.start_time.timestamp())
    except (OSError, RPCError, ServerError) as error:
        doubt = why_of(error) if isinstance(error, RPCError) else str(error)
        return Underway(launched | listed.keys(), since, doubt, listed)
    return Underway(launched | listed.keys(), since, listed=listed)


async def failed(starts: Starts) -> Mapping[str, Listed]:
    """What has failed of late and is no part of something else, by name.

    Raises:
        ServerError: When the server does not answer.
    """
    client, found = await starts.client(), dict[str, Listed]()
    query = FAILED.format((datetime.now(UTC) - RECENT).isoformat())
    try:
        async for each in client.list_workflows(query, rpc_timeout=RPC_TIMEOUT):
            if "/" not in each.id:
                found[each.id] = _listed(each)
            if len(found) == MOST:
                break
    except RPCError as error:
        raise silent(error) from error
    return found


def _listed(found: WorkflowExecution) -> Listed:
    return Listed(found.workflow_type, found.task_queue, STATES[found.status])
