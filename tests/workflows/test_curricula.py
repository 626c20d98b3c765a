"""Curricula on a real server: each round of a task is a sweep of its own, below the curriculum."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.outcomes import NestedEnded, StageEnded
from metta.sweep.experiments import CurriculumContext, CurriculumExperiment
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore
from metta.sweep.worker.main import BEAT
from tests.experiments import curricula
from tests.rig import Handle, Rig, failure_of, working

SCRIPT = Path(curricula.__file__)


@pytest.fixture
async def rig(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    # the code of stages finds the store as any program of the project does
    monkeypatch.setenv("METTA_SWEEP_STORE", str(tmp_path / "rig/store"))
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as made:
        yield made


async def start(rig: Rig, kind: str, **fields: object) -> Handle:
    return await begun(rig, f"curriculum-{os.urandom(4).hex()}", kind, fields)


async def begun(rig: Rig, name: str, kind: str, fields: dict[str, Any], **more: object) -> Handle:
    definition = {"experiment": f"{SCRIPT}:{kind}", "fields": fields, "input": None, **more}
    return await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)


async def value_of(rig: Rig, handle: Handle) -> Any:
    result = ExperimentResult.model_validate(await handle.result())
    return Packer(DataStore(rig.store.root), pickle=False).unkept(result.value)


def locally(kind: type[CurriculumExperiment], folder: Path, **fields: Any) -> CurriculumContext:
    """What the same curriculum gives in this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("METTA_SWEEP_STORE", str(folder))
        ctx: CurriculumContext = kind(**fields).run_local()
        return ctx


def told(ctx: CurriculumContext) -> list[tuple[Any, ...]]:
    """All that does not depend on where it ran."""
    return [(r.task, r.mastered, r.score, r.params, r.rounds, r.trials) for r in ctx.results.values()]


@pytest.mark.parametrize("kind", ["Tilted", "Various", "Carrying", "Tried"])
async def test_it_gives_what_it_gives_in_one_process(rig: Rig, tmp_path: Path, kind: str) -> None:
    handle = await start(rig, kind)
    ctx = await value_of(rig, handle)
    assert told(ctx) == told(locally(getattr(curricula, kind), tmp_path / "local"))
    assert ctx.is_mastered


async def test_rounds_are_sweeps_named_after_their_tasks(rig: Rig) -> None:
    handle = await start(rig, "Tilted", trials_per_task=2, max_rounds=2, unmastered="go_on", mastery=0.99)
    ctx = await value_of(rig, handle)
    names = [name for result in ctx.results.values() for name in result.sweeps]
    assert names[:3] == [
        f"{handle.id}/run@0/tilted-0-round-1",
        f"{handle.id}/run@1/tilted-0-round-2",
        f"{handle.id}/run@2/tilted-20-round-1",
    ]
    entries = [*rig.store.outcome_log(handle.id).entries()]
    assert [entry.name for entry in entries if isinstance(entry, NestedEnded)] == names
    runs = [entry for entry in entries if isinstance(entry, StageEnded) and entry.at.path == "run"]
    numbers = [run.outcome.metrics for run in runs]
    assert numbers[1] == {"score": ctx.results["tilted 0"].score, "trials": 4, "mastered": 0}
    assert ctx.trials == sum(len(rig.table(name).records) for name in names)


async def test_a_task_may_be_a_curriculum_itself(rig: Rig) -> None:
    handle = await start(rig, "Nesting")
    ctx = await value_of(rig, handle)
    assert ctx.is_mastered
    assert ctx.results["below"].trials == sum(
        len(rig.table(name).records) for name in rig.store.names() if name.startswith(f"{handle.id}/")
    )


async def test_the_loop_may_be_written_by_hand(rig: Rig) -> None:
    handle = await start(rig, "HandMade", degrees=[0, 20])
    ctx = await value_of(rig, handle)
    assert (ctx.current_stage, [*ctx.results]) == (2, ["tilted 0", "tilted 20"])


async def test_all_mistakes_in_json_are_told_before_anything_runs(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "Tilted", tasks=[], mastery="high", trials_per_task=0))
    for mistake in ("tasks: there is none", "mastery: input should be a valid number", "trials_per_task: "):
        assert mistake in failure.message
    assert rig.store.names() == []


async def test_a_task_that_has_to_be_mastered_fails_the_curriculum(rig: Rig) -> None:
    fields = {"mastery": 2, "trials_per_task": 2, "max_rounds": 2, "unmastered": "fail"}
    failure = await failure_of(await start(rig, "Tilted", **fields))
    assert "after 4 trials and 2 rounds, not mastered, and 2 rounds are all it may take" in failure.message


async def test_all_rounds_share_a_budget_and_go_on_with_more(rig: Rig, tmp_path: Path) -> None:
    expected = locally(curricula.Tilted, tmp_path / "local")
    few = expected.trials - 1
    failure = await failure_of(await begun(rig, "sharing", "Tilted", {}, budget=few))
    assert "nothing is left for run@3/tilted-40-round-2 of the budget that it shares" in failure.message
    assert sum(len(rig.table(name).records) for name in rig.store.names()) == few
    handle = await begun(rig, "sharing", "Tilted", {}, budget=2 * few, resume=True)
    ctx = await value_of(rig, handle)
    assert ctx.is_mastered
    assert ctx.results["tilted 40"].rounds == 2, "the round that was cut short is over"
    assert told(ctx)[:2] == told(expected)[:2]
