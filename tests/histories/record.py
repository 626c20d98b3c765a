"""Records the histories that the replay test replays: real sweeps on a real server.

    python -m tests.histories.record [NAME ...]

Record anew only what a new version writes on purpose, and keep what an old one wrote: sweeps that were
begun by it are to go on after an update.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from tests.histories import stories, trial_stories
from tests.rig import TEMPORAL, Handle, Rig, standing

HERE = Path(__file__).parent
STORIES = (*stories.STORIES, *trial_stories.STORIES)


def without_machine(value: Any) -> Any:
    """A history without what tells of the machine that it was recorded on."""
    if isinstance(value, dict):
        return {k: without_machine(v) for k, v in value.items() if k not in ("identity", "stackTrace")}
    return [without_machine(v) for v in value] if isinstance(value, list) else value


async def record(story: Callable[[Rig], Awaitable[Handle]], server: Settings, folder: Path) -> None:
    """Play a story, and write down the histories of all of its runs."""
    rig = await standing(server, folder / story.__name__)
    async with Worker(rig.client, task_queue=rig.queue):
        handle = await story(rig)
        try:
            await handle.result()
        except WorkflowFailureError as error:
            print(f"{story.__name__}: {error.cause!r}")
        runs = [run async for run in rig.client.list_workflows(f"WorkflowId = '{handle.id}'")]
        for number, run in enumerate(sorted(runs, key=lambda run: run.start_time)):
            history = await rig.client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
            file = HERE / f"{story.__name__}-{number}.json"
            file.write_text(json.dumps(without_machine(history.to_json_dict()), indent=1) + "\n", "utf-8")
            print(f"{file.name}: {len(history.events)} events")


async def main(names: list[str]) -> None:
    attributes = [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    suggestion = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={stories.SUGGESTED}"]
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=TEMPORAL, dev_server_extra_args=[*attributes, *suggestion]
    )
    async with environment:
        address = environment.client.service_client.config.target_host
        server = Settings(HERE, {"target_host": address, "namespace": environment.client.namespace})
        with tempfile.TemporaryDirectory() as folder:
            for story in (story for story in STORIES if not names or story.__name__ in names):
                await record(story, server, Path(folder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.histories.record", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="stories; without any, all of them")
    asyncio.run(main(parser.parse_args().names))
