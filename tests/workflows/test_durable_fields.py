"""Fields that stages change, on a real server: the engine gives what local runs give."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.outcomes import StageEnded
from metta.sweep.experiments import Experiment
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore
from tests.experiments import durable
from tests.experiments.test_durable_fields import MISTAKES, RESULTS, UNFIT
from tests.rig import Handle, Rig, failure_of, standing, until

SCRIPT = Path(durable.__file__)


async def start(rig: Rig, kind: str, **fields: object) -> Handle:
    definition = {"experiment": f"{SCRIPT}:{kind}", "fields": fields}
    name = f"experiment-{os.urandom(4).hex()}"
    return await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)


async def value_of(rig: Rig, handle: Handle) -> Any:
    result = ExperimentResult.model_validate(await handle.result())
    return Packer(DataStore(rig.store.root), pickle=False).unkept(result.value)


def fields_recorded(rig: Rig, handle: Handle) -> list[dict[str, Any]]:
    """What is recorded of the fields behind each stage."""
    packer = Packer(DataStore(rig.store.root), pickle=False)
    entries = (e for e in rig.store.outcome_log(handle.id).entries() if isinstance(e, StageEnded))
    return [packer.unkept(e.value.fields) if e.value.fields else {} for e in entries]


@pytest.mark.parametrize(("experiment", "expected"), RESULTS)
async def test_the_engine_gives_what_a_local_run_gives(
    rig: Rig, experiment: Experiment, expected: object
) -> None:
    handle = await start(rig, type(experiment).__name__, **experiment.fields)
    assert await value_of(rig, handle) == expected


async def test_they_are_recorded_with_what_each_stage_gives(rig: Rig) -> None:
    handle = await start(rig, "Counting", base=1)
    await handle.result()
    recorded = fields_recorded(rig, handle)
    assert recorded[0] == {"total": 1}
    assert recorded[1] == {"total": 2, "seen": [0]}
    assert recorded[-1] == {"total": 11, "seen": [0, 1, 2, 3]}


async def test_large_ones_stay_in_the_store(rig: Rig) -> None:
    handle = await start(rig, "Large")
    await handle.result()
    history = await handle.fetch_history()
    assert max(len(event.SerializeToString()) for event in history.events) < 10_000


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_what_cannot_be_kept_fails_the_stage(rig: Rig, mistake: str) -> None:
    handle = await start(rig, "Mistaken", mistake=mistake)
    failure = await failure_of(handle)
    assert failure.type == "StageFailed"
    assert MISTAKES[mistake] in failure.message


@pytest.mark.parametrize("how", UNFIT)
async def test_what_would_come_back_as_something_else_fails_the_stage(rig: Rig, how: str) -> None:
    failure = await failure_of(await start(rig, "Unfit", how=how))
    assert UNFIT[how] in failure.message
    rescued = await start(rig, "Unfit", how=how, rescued=True)
    assert await value_of(rig, rescued) == 7


async def test_a_predicate_changes_nothing(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "Merging"))
    assert "Merging.level cannot be changed here" in failure.message


async def test_two_branches_cannot_change_the_same_one(rig: Rig) -> None:
    failure = await failure_of(await start(rig, "Branching", same=True))
    assert "the branches one and two have both changed the field left" in failure.message


SLOW = """
import os
from pathlib import Path
from time import sleep
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

class Slow(Experiment):
    total: int = 0

    def pipeline(self):
        pipeline = Pipeline()
        for name in "abcdef":
            pipeline = pipeline.stage(name, self.add)
        return pipeline.stage("tell", self.tell)

    def add(self):
        self.total += 1
        Path("notes").open("a").write(f"{os.getpid()} {self.total}\\\\n")
        sleep(0.4)

    def tell(self):
        return self.total
"""


async def test_another_worker_finds_them_when_the_first_was_killed(server: Settings, tmp_path: Path) -> None:
    from tests.worker.processes import worker

    rig = await standing(server, tmp_path / "rig")
    (rig.folder / "slow.py").write_text(SLOW.replace("\\\\n", "\\n"), "utf-8")
    notes = rig.folder / "notes"
    definition = {"experiment": f"{rig.folder / 'slow.py'}:Slow"}
    with worker(rig, server) as first:
        handle = await rig.client.start_workflow(
            "Experiment", definition, id=f"slow-{rig.queue}", task_queue=rig.queue
        )
        await until(lambda: notes.exists() and len(notes.read_text().splitlines()) >= 3)
        first.send_signal(signal.SIGKILL)
        first.wait()
        with worker(rig, server):
            assert await value_of(rig, handle) == 6
    totals = [int(line.split()[1]) for line in notes.read_text().splitlines()]
    assert sorted(set(totals)) == [1, 2, 3, 4, 5, 6]
    assert len(totals) <= 7, "at most the stage that was killed ran twice"
