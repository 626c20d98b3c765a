import asyncio
import json
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import QueryWorkflowRequest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.sweeps import Row
from tests.rig import Handle, Rig, definition, failure_of, standing, status_of, until, working

ROOT = Path(__file__).parents[2]
UPDATES = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
)


async def control_of(handle: Handle) -> Control:
    control: Control = await handle.query("control", result_type=Control)
    return control


async def change_budget(handle: Handle, way: str, budget: object) -> None:
    if way == "update":
        await handle.execute_update("set_budget", budget)
    else:
        await handle.signal("set_budget", budget)


async def test_a_sweep_runs_until_its_budget_is_used_up(rig: Rig) -> None:
    handle = await rig.start(definition(budget=3))
    result = await handle.result()
    assert result["reason"] == "budget"
    assert result["ledger"] == rig.store.ledger(handle.id).uri
    status = await status_of(handle)
    assert (status.state, status.reason) == ("finished", "budget")
    assert status.progress.counts.completed == 3
    board = await handle.query("leaderboard", result_type=list[Row])
    assert [row.value for row in board] == sorted((row.value for row in board), reverse=True)
    assert len(board) == 3
    control = await control_of(handle)
    assert (control.budget.trials, control.version, control.stop) == (3, 0, False)


async def test_the_temporal_ui_shows_what_the_sweep_does(rig: Rig) -> None:
    handle = await rig.start(definition(budget=2))
    result = await handle.result()
    found = (await handle.describe()).typed_search_attributes
    assert found[SearchAttributeKey.for_keyword("SweepStatus")] == "finished"
    assert found[SearchAttributeKey.for_keyword("SweepMetric")] == "accuracy"
    assert found[SearchAttributeKey.for_int("SweepTrials")] == 2
    assert found[SearchAttributeKey.for_float("SweepBest")] == result["progress"]["best"][0]["value"]
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    page = metadata.current_details
    assert "**finished**: budget" in page
    assert "2 trials started: 2 completed" in page
    assert [line.split()[0] for line in page.split("```")[1].splitlines()[1:]] == ["trial", "1", "0"]
    events = (await handle.fetch_history()).events
    summaries = [event.user_metadata.summary.data for event in events if event.HasField("user_metadata")]
    assert summaries == [b'"search for the best trial"']


@pytest.mark.parametrize(
    ("way", "begin", "change", "trials"),
    [
        ("update", 1, 3, 3),
        ("signal", 50, 1, 1),
        ("signal", 1, {"trials": 2}, 2),
        ("update", 50, {"trials": None, "target": 0.0}, 1),
    ],
)
async def test_a_running_sweep_takes_another_budget(
    rig: Rig, way: str, begin: int, change: object, trials: int
) -> None:
    handle = await rig.started(budget=begin)
    await change_budget(handle, way, change)
    await until(lambda: rig.table(handle.id).control.version == 1)
    rig.open_gate()
    result = await handle.result()
    assert result["progress"]["counts"]["started"] == trials
    assert (await status_of(handle)).control.version == 1


async def test_a_wrong_budget_is_refused_at_once_and_leaves_no_trace(rig: Rig) -> None:
    handle = await rig.started(budget=1)
    wrong: list[tuple[list[object], str]] = [
        ([-1], "trials: input should be greater than or equal to 1, got -1"),
        (["many"], "write a number of trials, or limits such as"),
        ([{"trails": 3}], "trails is unknown; did you mean trials?"),
        ([], "it has to be one JSON value, got none"),
        ([1, 2], "it has to be one JSON value, got 2"),
    ]
    for args, message in wrong:
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update("set_budget", args=args)
        assert isinstance(caught.value.cause, ApplicationError)
        assert message in caught.value.cause.message
    assert not [event for event in (await handle.fetch_history()).events if event.event_type in UPDATES]
    rig.open_gate()
    assert (await handle.result())["progress"]["counts"]["started"] == 1


async def test_a_wrong_signal_is_shown_until_a_right_one_comes(rig: Rig) -> None:
    handle = await rig.started(budget=1)
    for args, message in [([0], "got 0"), ([], "got none"), ([3, 4], "got 2")]:
        await handle.signal("set_budget", args=args)
        status = await status_of(handle)
        assert status.notice.startswith("the signal set_budget was refused: the budget: ")
        assert message in status.notice
        assert status.control.version == 0
    await handle.signal("set_budget", 2)
    assert (await status_of(handle)).notice == ""
    rig.open_gate()
    assert (await handle.result())["progress"]["counts"]["started"] == 2


async def test_signals_that_make_no_sense_do_not_block_a_sweep(server: Settings, tmp_path: Path) -> None:
    rig = await standing(server, tmp_path / "rig")
    handle = await rig.start(definition(budget=1))
    wrong: list[list[object]] = [[], ["nonsense"], [{}, {}], [{"counts": "many"}]]
    for args in wrong:
        await handle.signal("progress", args=args)
        await handle.signal("set_budget", args=args)
        await handle.signal("no such signal", args=args)
    async with Worker(rig.client, task_queue=rig.queue):
        result = await handle.result()
    assert result["progress"]["counts"]["started"] == 1


@pytest.mark.parametrize("args", [[], ["now"]])
async def test_stopping_ends_the_running_trials_and_the_sweep(rig: Rig, args: list[object]) -> None:
    handle = await rig.started(budget=5)
    control = await handle.execute_update("stop", args=args, result_type=Control)
    assert control.stop
    assert (await status_of(handle)).state == "stopping"
    with pytest.raises(WorkflowUpdateFailedError, match="Workflow update failed") as caught:
        await handle.execute_update("set_budget", 9)
    assert "the sweep is being stopped" in str(caught.value.cause)
    assert (await handle.result())["reason"] == "stopped"
    assert rig.table(handle.id).counts.stopped == 1
    assert (await status_of(handle)).state == "finished"


WRONG = {
    "objectiv": "objectives:train",
    "search_space": {"x": {"type": "uniform", "low": 2, "high": 1}, "y": {"type": "unifrom"}},
    "budget": -1,
}
MISTAKES = (
    "5 mistakes in the sweep's JSON",
    "objective is missing",
    "x: low must be at most high, got low=2 and high=1",
    "y: type 'unifrom' is unknown; did you mean uniform?",
    "budget.trials: input should be greater than or equal to 1, got -1",
    "objectiv is unknown; did you mean objective?",
)


async def test_wrong_json_fails_at_once_with_every_mistake(rig: Rig) -> None:
    handle = await rig.start(WRONG)
    error = await failure_of(handle)
    assert (error.type, error.non_retryable) == ("DefinitionError", True)
    for mistake in MISTAKES:
        assert mistake in error.message
    assert (await status_of(handle)).state == "failed"
    assert not rig.store.ledger(handle.id).exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "it has to be one JSON value, got none"),
        ([None], "got None"),
        (["sweep.json"], "got 'sweep.json'"),
        ([{}, {}], "it has to be one JSON value, got 2"),
        ([{"client": "metta.sweep", "objective": 3}], "objective: input should be a valid string, got 3"),
    ],
)
async def test_what_is_no_sweep_at_all_fails_at_once(rig: Rig, args: list[object], message: str) -> None:
    handle = await rig.client.start_workflow(
        "Sweep", args=args, id=f"no-sweep-{rig.queue}", task_queue=rig.queue
    )
    assert message in (await failure_of(handle)).message


async def test_the_temporal_command_shows_every_mistake(rig: Rig) -> None:
    file = rig.folder / "sweep.json"
    file.write_text(json.dumps(WRONG), "utf-8")
    name = f"wrong-{rig.queue}"
    started = await rig.temporal(
        *("workflow", "execute", "--type", "Sweep", "--task-queue", rig.queue),
        *("--workflow-id", name, "--input-file", str(file)),
    )
    for mistake in MISTAKES:
        assert mistake in started.stdout


async def test_many_may_ask_at_the_same_time(rig: Rig) -> None:
    handle = await rig.started(budget=1)
    request = QueryWorkflowRequest(
        namespace=rig.client.namespace,
        execution=WorkflowExecution(workflow_id=handle.id),
        query=WorkflowQuery(query_type="status"),
    )

    async def ask() -> None:
        await rig.client.workflow_service.query_workflow(request, retry=False)

    for trials in range(2, 6):  # a workflow that is busy keeps them waiting
        await handle.signal("set_budget", trials)
        await asyncio.gather(*(ask() for _ in range(10)))
    rig.open_gate()
    await handle.result()


async def test_the_temporal_command_runs_the_example(server: Settings, tmp_path: Path) -> None:
    code = Code(objective="", cwd=str(ROOT), path=(str(ROOT),))
    async with working(server, tmp_path / "rig", code) as rig:
        name = f"digits-{rig.queue}"
        queue, file = ("--task-queue", rig.queue), ("--input-file", str(ROOT / "examples/sweep.json"))
        await rig.workflow(name, "start", "--type", "Sweep", *queue, *file)
        higher = ("signal", "--name", "set_budget", "--input", '{"trials": 30}')
        await rig.workflow(name, *higher)
        told = await rig.workflow(name, "query", "--type", "status", "--output", "json")
        [status] = json.loads(told)["queryResult"]
        assert status["control"]["budget"]["trials"] == 30
        lower = ("update", "execute", "--name", "set_budget", "--input", "1")
        assert "trials" in await rig.workflow(name, *lower)
        told = await rig.workflow(name, "result", "--output", "json")
        progress = json.loads(told)["result"]["progress"]
        assert 1 <= progress["counts"]["completed"] < 20
        assert progress["best"][0]["value"] > 0.5
