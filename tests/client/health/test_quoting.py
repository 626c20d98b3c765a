"""Names that a shell would take for more than names: commands that are told hold each as one word."""

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from time import time

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from metta.sweep.client.health.findings import Finding
from metta.sweep.client.health.orphans import damaged_launches, foreign_workflows, unasked
from metta.sweep.client.health.places import LaunchesHere
from metta.sweep.client.health.records import Record
from metta.sweep.client.health.running import Running, Runs
from metta.sweep.client.health.stuck import stuck_found
from metta.sweep.client.settings import Settings
from tests.client.health.elsewhere import Another
from tests.client.health.looks import lead, look
from tests.rig import definition, standing, until

NAME = "it's; $(touch made) `touch made`"
WHERE = "--namespace n"


def words(found: Sequence[Finding]) -> list[str]:
    [finding] = found
    return shlex.split(finding.command)


def running(*activities: PendingActivityInfo) -> Runs:
    raw = DescribeWorkflowExecutionResponse(pending_activities=activities)
    raw.workflow_execution_info.history_length = 9
    return Runs([Running(NAME, "run", "Sweep", NAME, 0.0, raw)])


def test_names_of_records_are_one_word() -> None:
    assert words(unasked([Record(NAME, "sweep", False)])) == ["sweep", "show", NAME]


def test_names_of_launches_are_one_word(tmp_path: Path) -> None:
    launches = LaunchesHere(Settings(tmp_path))
    file = launches.lock(NAME).with_suffix(".json")
    file.parent.mkdir()
    file.write_text("{", "utf-8")
    assert words(damaged_launches(launches)) == ["rm", str(file)]
    assert f"`sweep retry {shlex.quote(NAME)}`" in damaged_launches(launches)[0].cure


def test_ids_of_workflows_of_others_are_one_word(tmp_path: Path) -> None:
    told = words(foreign_workflows(Settings(tmp_path), [], running(), WHERE))
    assert told == ["temporal", "workflow", "describe", "--workflow-id", NAME, "--namespace", "n"]


async def test_ids_of_workflows_whose_activities_do_not_get_on_are_one_word() -> None:
    paused = PendingActivityInfo(activity_id=NAME, paused=True)
    found = await stuck_found(Client.__new__(Client), running(paused), WHERE)
    assert words(found)[3:7] == ["--workflow-id", NAME, "--activity-id", NAME]
    scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    failing = PendingActivityInfo(activity_id="1", attempt=5, state=scheduled)
    failing.next_attempt_schedule_time.FromSeconds(int(time()))
    found = await stuck_found(Client.__new__(Client), running(failing), WHERE)
    assert words(found)[3:5] == ["--workflow-id", NAME]


async def test_a_command_that_is_told_of_such_a_queue_does_what_it_says_and_nothing_else(
    project: Path, server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = (await standing(server, tmp_path / "rig"))._replace(queue=f"{NAME} {time()}")
    lead(monkeypatch, server, rig.store.root)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    others = await Client.connect(
        str(server.connect["target_host"]),
        namespace=str(server.connect["namespace"]),
        data_converter=pydantic_data_converter,
        identity="somebody's worker",
    )
    name = f"{NAME} of mine"
    async with Worker(others, task_queue=rig.queue, workflows=[Another]):
        handle = await rig.start(definition(budget=1), name)
        await until(lambda: look("workflow-stuck", name))
        [stuck] = await look("workflow-stuck", name)
        told = await asyncio.create_subprocess_shell(
            stuck.command, stdout=asyncio.subprocess.PIPE, cwd=project
        )
        out, _ = await told.communicate()
    assert told.returncode == 0
    assert b"somebody's worker" in out
    assert not (project / "made").exists()
    await handle.terminate()
    monkeypatch.delenv("TEMPORAL_ADDRESS")
