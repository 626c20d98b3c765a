"""Stages that run others in all ways that Python has, on a real server."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from metta.sweep.activities.nested import NestedRuns
from metta.sweep.client import server as embedded
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.nested import NestedEnd, NestedRun
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore
from metta.sweep.worker.main import BEAT
from tests.experiments import idioms
from tests.rig import Handle, Rig, failure_of, serving, working

SCRIPT = Path(idioms.__file__)


@pytest.fixture
async def rig(server: Settings, tmp_path: Path) -> AsyncIterator[Rig]:
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as made:
        yield made


async def start(rig: Rig, kind: str, *, budget: int | None = None, **fields: object) -> Handle:
    definition: dict[str, object] = {"experiment": f"{SCRIPT}:{kind}", "fields": fields, "input": {}}
    if budget:
        definition["budget"] = budget
    name = f"experiment-{os.urandom(4).hex()}"
    return await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)


async def value_of(rig: Rig, handle: Handle) -> Any:
    result = ExperimentResult.model_validate(await handle.result())
    return Packer(DataStore(rig.store.root), pickle=False).unkept(result.value)


def below(rig: Rig, handle: Handle) -> list[str]:
    names = [*rig.store.names(), *rig.store.experiment_names()]
    return sorted(name for name in names if name.startswith(f"{handle.id}/"))


def tries(folder: Path) -> int:
    return len((folder / "notes.txt").read_text().splitlines())


async def updates(handle: Handle) -> int:
    accepted = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
    return len([event async for event in handle.fetch_history_events() if event.event_type == accepted])


async def test_what_run_gives_goes_where_coroutines_go(rig: Rig) -> None:
    assert await value_of(rig, await start(rig, "Idioms")) == [2, 2, 1, 3, 2, 1, 2, 2, 2, 2]


async def test_threads_of_a_pool_run_them_as_their_stage_does(rig: Rig) -> None:
    handle = await start(rig, "Pool")
    assert await value_of(rig, handle) == [f"{handle.id}/search/p1", f"{handle.id}/search/p2"]


async def test_a_process_that_a_stage_has_forked_runs_none(rig: Rig) -> None:
    handle = await start(rig, "Forking")
    assert await value_of(rig, handle) == [1]
    assert below(rig, handle) == []


@pytest.mark.parametrize("what", ["sweep", "experiment"])
async def test_start_in_a_stage_is_refused(rig: Rig, what: str) -> None:
    assert "use run() instead" in await value_of(rig, await start(rig, "Starting", what=what))


async def test_a_hook_runs_nothing(rig: Rig) -> None:
    handle = await start(rig, "Hooked")
    failure = await failure_of(handle)
    assert "train cannot be run in a hook or a predicate; run it in the code of a stage" in failure.message
    assert below(rig, handle) == []


async def test_an_attempt_after_a_kill_finds_those_with_sets_in_them(rig: Rig, tmp_path: Path) -> None:
    handle = await start(rig, "Killed", folder=str(tmp_path))
    assert await value_of(rig, handle) == 3
    assert len(below(rig, handle)) == 2


@pytest.mark.parametrize("way", idioms.TROUBLED)
async def test_trouble_gets_past_whatever_a_stage_catches(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    real, asked = NestedRuns.end_of, list[str]()

    async def end_of(self: NestedRuns, run: NestedRun) -> NestedEnd:
        asked.append(run.key)
        if len(asked) < 3:
            raise OSError("no such host")
        return await real(self, run)

    monkeypatch.setattr(NestedRuns, "end_of", end_of)
    handle = await start(rig, "Troubled", way=way)
    assert await value_of(rig, handle) == "done"
    assert asked == ["one"] * 3
    [sweep] = below(rig, handle)
    assert len(rig.table(sweep).records) == 2


@pytest.mark.parametrize("way", ["raised", "self"])
async def test_a_stage_that_ends_as_if_it_were_cancelled_has_failed(rig: Rig, way: str) -> None:
    failure = await failure_of(await start(rig, "Cancelled", way=way))
    assert failure.type == "StageFailed"
    assert "CancelledError" in failure.message


async def test_awaiting_again_what_was_cancelled_says_so(rig: Rig) -> None:
    said = "was cancelled when an `await` of it was; call run() again to run it anew"
    assert await value_of(rig, await start(rig, "Again")) == [f"s {said}", f"e {said}"]


@pytest.mark.parametrize("way", ["budget", "group", "definition"])
async def test_what_is_refused_is_not_tried_again(rig: Rig, tmp_path: Path, way: str) -> None:
    failure = await failure_of(await start(rig, "Refused", budget=2, way=way, folder=str(tmp_path)))
    assert failure.type == "StageFailed"
    assert tries(tmp_path) == (2 if way == "definition" else 1), "the inner one, too"


async def test_further_attempts_ask_the_server_for_no_more_updates(rig: Rig, tmp_path: Path) -> None:
    handle = await start(rig, "Retrying", folder=str(tmp_path))
    assert await value_of(rig, handle) == 1
    assert tries(tmp_path) == 4
    assert await updates(handle) == 4


async def test_what_one_attempt_has_dropped_goes_on_when_the_next_one_asks_for_it(
    rig: Rig, tmp_path: Path
) -> None:
    handle = await start(rig, "Dropping", folder=str(tmp_path))
    assert await value_of(rig, handle) == 2
    assert below(rig, handle) == [f"{handle.id}/go/s"]


async def test_where_the_server_takes_no_more_updates_the_stage_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = embedded._command

    def command(*arguments: Any) -> list[str]:
        return [*usual(*arguments), "--dynamic-config-value", "history.maxTotalUpdates=3"]

    monkeypatch.setattr(embedded, "_command", command)
    with serving(tmp_path) as settings:
        async with working(settings, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as rig:
            handle = await start(rig, "Many", count=5)
            failure = await failure_of(handle)
            assert "put them into stages of a loop, or into experiments of their own" in failure.message
            assert len(below(rig, handle)) == 3
