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
from metta.sweep.contracts.defaults import is_in_script
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.references import Reference


def check_named(queue: str, code: Sequence[str], parts: Iterable[object], subject: str) -> None:
    """See to it that the workers of a shared queue can find all code by the names of modules.

    Args:
        queue: The queue.
        code: References to what is run.
        parts: Components, and fields of experiments, which may hold such.
        subject: What is started.

    Raises:
        DefinitionError: With all that they could not find, and what to do.
    """
    away = [text for text in code if Reference.parse(text).kind != "module"]
    away += [text for part in parts for text in _away(part)]
    problems = [_problem(text, queue) for text in dict.fromkeys(away)]
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


def _away(data: Any) -> Iterator[str]:
    """What a component, or something that may hold one, names outside of modules."""
    match data:
        case ComponentSpec():
            yield from _away(data.model_dump())
        case {"type": str(name), **rest}:
            yield from [name] if is_in_script(name) else []
            yield from _away(rest)
        case {"pickle": str()}:
            yield "value::an object"
        case dict():
            for item in data.values():
                yield from _away(item)
        case list() | tuple():
            for item in data:
                yield from _away(item)
        case str() if is_in_script(data):
            yield data


def _problem(text: str, queue: str) -> str:
    reference = Reference.parse(text)
    where = f"in the script {PurePath(reference.target).name}"
    if reference.kind == "value":
        where = "in a notebook, a function or this program"
    return (
        f"{reference.name} is defined {where}, which the workers of the queue {queue} do not have: put it"
        f" into a module that they register (`sweep worker my_lab --queue {queue}`) and import it from there,"
        " or leave the queue out"
    )
