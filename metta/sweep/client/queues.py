"""Shared queues: work goes to workers that are there already, and takes with it nothing but names."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from metta.sweep.client.runs import RPC_TIMEOUT
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.references import Reference


def check_named(
    queue: str, code: Sequence[str], parts: Iterable[object], subject: str, is_default: bool = False
) -> None:
    """See to it that the workers of a shared queue can find all code by the names of modules.

    Args:
        queue: The queue.
        code: References to what is run.
        parts: Components, and fields of experiments, which may hold such.
        subject: What is started.
        is_default: Whether it goes to a shared queue where none is given.

    Raises:
        DefinitionError: With all that they could not find, and what to do.
    """
    away = [text for text in code if Reference.parse(text).kind != "module"]
    away += [text for part in parts for text in _away(part)]
    way_out = (
        'start a worker of its own with `--queue ""`, or queue=""' if is_default else "leave the queue out"
    )
    problems = [f"{_problem(text, queue)}, or {way_out}" for text in dict.fromkeys(away)]
    if problems:
        raise DefinitionError(problems, subject)


async def is_served(client: Client, queue: str) -> bool:
    """Whether somebody has asked for work of a queue lately; True where the server does not tell."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        found = await client.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
    except RPCError:
        return True
    return bool(found.pollers)


def idle_note(queue: str) -> str:
    """That nobody serves a queue."""
    return f"nobody serves the queue {queue} by now: `sweep worker MODULES --queue {queue}` does"


def _away(data: Any, is_within: bool = False) -> Iterator[str]:
    """What a component, or something that may hold one, names outside of modules.

    Args:
        data: The one or the other.
        is_within: Whether it is within a component: elsewhere a pickle is a word like others.
    """
    match data:
        case ComponentSpec():
            yield from _away(data.model_dump())
        case {"pickle": str()} if is_within:
            yield "value::an object"
        case dict():
            is_component = isinstance(data.get("type"), str) and isinstance(data.get("options"), dict)
            for item in data.values():
                yield from _away(item, is_within or is_component)
        case list() | tuple():
            for item in data:
                yield from _away(item, is_within)
        case str() if _is_script(data):
            yield data


def _is_script(text: str) -> bool:
    try:
        return Reference.parse(text).kind == "script"
    except DefinitionError:  # any text
        return False


def _problem(text: str, queue: str) -> str:
    reference = Reference.parse(text)
    where = f"in the script {PurePath(reference.target).name}"
    if reference.kind == "value":
        where = "in a notebook, a function or this program"
    return (
        f"{reference.name} is defined {where}, which the workers of the queue {queue} do not have: put it"
        f" into a module that they register (`sweep worker my_lab --queue {queue}`) and import it from there"
    )
