import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from metta.sweep.client.settings import Settings
from metta.sweep.worker import MettaSweepPlugin
from tests.histories import record
from tests.rig import definition, working

HISTORIES = sorted(Path(record.__file__).parent.glob("*.json"))


def replayer() -> Replayer:
    return Replayer(workflows=[], plugins=[MettaSweepPlugin()])


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    history = json.loads(file.read_text("utf-8"))
    name = history["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]  # children bear it
    await replayer().replay_workflow(WorkflowHistory.from_json(name, history))


def test_every_story_is_recorded() -> None:
    recorded = {file.stem.rpartition("-")[0] for file in HISTORIES}
    assert {story.__name__ for story in record.STORIES} - recorded == set()


async def test_a_history_that_another_workflow_wrote_does_not_replay() -> None:
    [file] = [file for file in HISTORIES if file.stem == "finished-0"]
    history = json.loads(file.read_text("utf-8"))
    for event in history["events"]:
        if scheduled := event.get("activityTaskScheduledEventAttributes"):
            scheduled["activityType"]["name"] = "another_activity"
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json("replayed", history))


async def test_a_sweep_runs_when_every_workflow_task_replays_its_history(
    server: Settings, tmp_path: Path
) -> None:
    async with working(server, tmp_path / "rig", max_cached_workflows=0) as rig:
        handle = await rig.started(budget=1)
        await handle.signal("set_budget", 2)
        await handle.execute_update("set_budget", 3)
        rig.open_gate()
        assert (await handle.result())["progress"]["counts"]["completed"] == 3
        assert rig.table(handle.id).control.version == 2
        again = await rig.start(definition(budget=1))
        assert (await again.result())["reason"] == "budget"
