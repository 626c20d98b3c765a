"""Workflows and activities of other programs, which take tasks that are not theirs."""

from datetime import timedelta
from typing import Any

from temporalio import activity, workflow


@workflow.defn(name="Another")
class Another:
    """A workflow of somebody else's."""

    @workflow.run
    async def run(self) -> None:
        """Do nothing."""


@workflow.defn(name="Sweep")
class OlderSweep:
    """Begins by a timer, as no version of `Sweep` does: what it has begun, ours cannot go on with."""

    @workflow.run
    async def run(self, definition: dict[str, Any]) -> None:
        """Wait."""
        await workflow.sleep(timedelta(seconds=1))
        await workflow.sleep(timedelta(hours=1))


@activity.defn
async def unwanted() -> None:
    """Is never asked for."""
