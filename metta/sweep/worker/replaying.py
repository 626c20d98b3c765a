"""Replaying: whether what ran before would be decided in the same way by the code that is here."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from metta.sweep.client.runs import why_of
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import DefinitionError, ServerError, SweepError, SweepNotFound
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.nested import below
from metta.sweep.runners.objective import enter
from metta.sweep.stages.again import Again, Debug, run_again
from metta.sweep.stages.retracing import Retraced, retraced
from metta.sweep.worker.plugin import MettaSweepPlugin

RPC_TIMEOUT = timedelta(seconds=30)
MESSAGE_CHARS = 500


class Replay(Wire):
    """One history.

    Args:
        workflow: Id of the workflow.
        run: Id of its run.
        kind: Its type.
        events: How long it is.
        problem: Where it would go another way; empty when it would not.
    """

    workflow: str
    run: str
    kind: str
    events: int
    problem: str = ""


class Replayed(Wire):
    """All histories of a sweep or experiment, and of what runs below it.

    Args:
        name: Its name.
        histories: One for each run; none when Temporal has forgotten them.
        retraced: What is recorded in the store, of an experiment and those within it, where there are none.
    """

    name: str
    histories: tuple[Replay, ...] = ()
    retraced: tuple[Retraced, ...] = ()

    @property
    def problems(self) -> tuple[Replay, ...]:
        """Histories that would go another way."""
        return tuple(history for history in self.histories if history.problem)

    @property
    def is_deterministic(self) -> bool:
        """Whether nothing would go another way."""
        return not self.problems and not any(each.problem for each in self.retraced)


async def replayed(starts: Starts, name: str) -> Replayed:
    """Replay what Temporal knows of a sweep or experiment; nothing is run, and nothing changes.

    Of an experiment of which it knows nothing any more, what the store has recorded is gone through instead.

    Args:
        starts: Of the project.
        name: Its name. Earlier runs of that name, its trials, and what is nested in it are replayed, too.

    Raises:
        SweepNotFound: When nobody knows it.
        SweepError: When it is a sweep of which Temporal knows nothing any more.
        DefinitionError: When the code of an experiment cannot be loaded.
        ServerError: When the server does not answer.
    """
    client = await starts.client()
    try:
        found = [replay async for replay in _replays(client, name)]
    except RPCError as error:
        why = why_of(error)
        raise ServerError(f"the Temporal server does not tell the histories of {name}: {why}") from error
    if not found:
        return Replayed(name=name, retraced=tuple(await asyncio.to_thread(_retraced, starts, name)))
    return Replayed(name=name, histories=tuple(found))


def _retraced(starts: Starts, name: str) -> list[Retraced]:
    sweeps, experiments = starts.store.names(), starts.store.experiment_names()
    if name in sweeps:
        raise SweepError(
            f"Temporal has forgotten the histories of the sweep {name}, and a store tells the steps of"
            f" experiments alone; `sweep show {name}` shows what is recorded of it"
        )
    if name not in experiments:
        raise SweepNotFound(name, [*sweeps, *experiments], "sweep or experiment")
    _enter(starts, name)
    pickle = starts.settings.may_pickle
    return [retraced(starts.store, each, pickle=pickle) for each in (name, *below(name, experiments))]


async def _replays(client: Client, name: str) -> AsyncIterator[Replay]:
    replayer = Replayer(workflows=[], plugins=[MettaSweepPlugin()])
    async for workflow in client.list_workflows(_below(name), rpc_timeout=RPC_TIMEOUT):
        handle = client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        try:
            history = await handle.fetch_history(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:  # it was forgotten at this moment
                continue
            raise
        yield Replay(
            workflow=workflow.id,
            run=workflow.run_id,
            kind=workflow.workflow_type,
            events=len(history.events),
            problem=await _problem(replayer, history),
        )


async def _problem(replayer: Replayer, history: WorkflowHistory) -> str:
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return str(result.replay_failure or "")[:MESSAGE_CHARS]


def _below(name: str) -> str:
    """A query for a workflow, and for all whose ids begin with its name and a slash.

    >>> _below("it's")
    "WorkflowId = 'it''s' OR WorkflowId STARTS_WITH 'it''s/'"
    """
    quoted = name.replace("\\", "\\\\").replace("'", "''")
    return f"WorkflowId = '{quoted}' OR WorkflowId STARTS_WITH '{quoted}/'"


def stage_again(starts: Starts, name: str, stage: str, debug: Debug | None = None) -> Again:
    """Run a stage of an experiment again in this process, which from then on stands where its worker stood.

    Args:
        starts: Of the project.
        name: Name of the experiment.
        stage: See ``run_again``.
        debug: See ``run_again``.

    Raises:
        SweepNotFound: When nothing is recorded of it.
        DefinitionError: When it cannot be run again.
        StoreError: When the store cannot be read.
    """
    store = starts.store
    if store.ledger(name).exists():
        raise DefinitionError([f"a sweep has no stages, got {stage!r}"], f"the sweep {name}")
    _enter(starts, name)
    return run_again(store, name, stage, pickle=starts.settings.may_pickle, debug=debug)


def _enter(starts: Starts, name: str) -> None:
    """Make this process look as the worker of an experiment did."""
    parts = name.split("/")
    names = ("/".join(parts[:n]) for n in range(len(parts), 0, -1))  # nested ones share their parent's worker
    launch = next((found for part in names if (found := starts.launches.find(part))), None)
    enter(launch.code if launch else Code(objective="", path=(str(Path.cwd()),)))
