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


def marks_of_bare(rounds: int, width: int) -> list[Mark]:
    """When the activities of a bare workflow ran."""
    return marks_of(lambda: asyncio.run(_run(rounds, width)))


async def _run(rounds: int, width: int) -> None:
    client = await connect(Settings.load())
    async with Worker(client, task_queue=QUEUE, workflows=[Bare], activities=[nothing]):
        await client.execute_workflow("Bare", args=[rounds, width], id=str(uuid4()), task_queue=QUEUE)
