"""The engine alone: activities that do nothing, without this library, on the same embedded server."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from benchmarks.marks import Mark, marked, marks_of
    from metta.sweep.client.connection import connect
    from metta.sweep.client.settings import Settings

LIMIT = timedelta(seconds=60)
QUEUE = "bare"


@activity.defn
async def nothing() -> None:
    with marked():
        return


@workflow.defn
class Bare:
    """Activities side by side, round after round."""

    @workflow.run
    async def run(self, rounds: int, width: int) -> None:
        for _ in range(rounds):
            tasks = (workflow.execute_activity(nothing, start_to_close_timeout=LIMIT) for _ in range(width))
            await asyncio.gather(*tasks)


@workflow.defn
class Child:
    """Does nothing in an activity, and says so to its parent."""

    @workflow.run
    async def run(self, parent: str) -> None:
        await workflow.execute_activity(nothing, start_to_close_timeout=LIMIT)
        await workflow.get_external_workflow_handle(parent).signal("done")


@workflow.defn
class Parent:
    """Keeps so many children going until there were enough of them."""

    @workflow.init
    def __init__(self, children: int, width: int) -> None:
        self._done = 0

    @workflow.run
    async def run(self, children: int, width: int) -> None:
        name = workflow.info().workflow_id
        for number in range(children):
            await workflow.wait_condition(lambda number=number: number - self._done < width)  # type: ignore[misc]
            await workflow.start_child_workflow("Child", name, id=f"{name}/{number}")
        await workflow.wait_condition(lambda: self._done == children)

    @workflow.signal
    def done(self) -> None:
        self._done += 1


def marks_of_children(children: int, width: int) -> list[Mark]:
    """When the activities of bare children ran: each is started, does one activity, and signals."""
    return marks_of(lambda: asyncio.run(_run("Parent", children, width)))


def marks_of_bare(rounds: int, width: int) -> list[Mark]:
    """When the activities of a bare workflow ran."""
    return marks_of(lambda: asyncio.run(_run("Bare", rounds, width)))


async def _run(kind: str, *arguments: int) -> None:
    client = await connect(Settings.load())
    async with Worker(client, task_queue=QUEUE, workflows=[Bare, Child, Parent], activities=[nothing]):
        await client.execute_workflow(kind, args=list(arguments), id=str(uuid4()), task_queue=QUEUE)
