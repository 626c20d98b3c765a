"""Optimizers and helpers in fields, on a real server: the engine gives what local runs give."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.outcomes import StageEnded
from metta.sweep.experiments import Experiment
from metta.sweep.optimizers import Optimizer, OptunaOptimizer
from tests.experiments import asking
from tests.experiments.asking import SPACE, ByHand, Climbing, Tuning
from tests.experiments.test_asking import OPTIMIZERS, RESULTS
from tests.rig import Handle, Rig, failure_of, standing, until
from tests.workflows.test_durable_fields import fields_recorded, value_of

SCRIPT = Path(asking.__file__)


async def start(rig: Rig, experiment: Experiment, given: Any = None) -> Handle:
    reference = f"{SCRIPT}:{type(experiment).__name__}"
    definition = {"experiment": reference, "fields": experiment.fields, "input": given}
    name = f"experiment-{os.urandom(4).hex()}"
    return await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)


@pytest.mark.parametrize(("experiment", "given", "expected"), RESULTS)
async def test_the_engine_gives_what_a_local_run_gives(
    rig: Rig, experiment: Experiment, given: Any, expected: object
) -> None:
    handle = await start(rig, experiment, given)
    assert await value_of(rig, handle) == expected


@pytest.mark.parametrize("name", OPTIMIZERS)
async def test_a_durable_loop_tries_what_a_local_one_tries(rig: Rig, name: str) -> None:
    experiment = Tuning(optimizer=OPTIMIZERS[name])
    handle = await start(rig, experiment)
    assert await value_of(rig, handle) == experiment.run_local()
    recorded = [fields["optimizer"] for fields in fields_recorded(rig, handle) if "optimizer" in fields]
    calls = [len(optimizer["calls"]) for optimizer in recorded]
    assert calls == sorted(calls)
    assert calls[0] == 1
    assert calls[-1] >= 8


async def test_optimizers_used_and_assigned_in_methods_go_on(rig: Rig) -> None:
    handle = await start(rig, ByHand())
    assert await value_of(rig, handle) == ByHand().run_local()


async def test_when_nothing_is_left_to_suggest_the_stage_fails(rig: Rig) -> None:
    failure = await failure_of(await start(rig, asking.Ending()))
    assert failure.type == "StageFailed"
    assert "stage suggest[2] failed: Climbing has nothing left to suggest" in failure.message


async def test_two_branches_cannot_change_the_same_helper(rig: Rig) -> None:
    failure = await failure_of(await start(rig, asking.Torn(), {"n": 3}))
    assert "the branches a and b have both changed the field tally" in failure.message


KILLED: dict[str, Optimizer] = {
    "tpe": OptunaOptimizer(SPACE, n_startup_trials=3),
    "own": Climbing(),
}

SLOW = """
import os
from pathlib import Path
from time import sleep
from tests.experiments.asking import Tuning

class Slow(Tuning):
    def train(self, base: int, lr: float, depth: int) -> float:
        with Path("notes").open("a") as notes:
            notes.write(f"{os.getpid()} {lr!r} {depth}\\n")
        sleep(0.3)
        return super().train(base, lr, depth)
"""


@pytest.mark.parametrize("name", KILLED)
async def test_another_worker_with_another_hash_seed_goes_on_with_the_same_trials(
    server: Settings, tmp_path: Path, name: str
) -> None:
    from tests.worker.processes import worker

    rig = await standing(server, tmp_path / "rig")
    script, notes = rig.folder / "slow.py", rig.folder / "notes"
    script.write_text(SLOW, "utf-8")
    experiment = Tuning(optimizer=KILLED[name])
    undisturbed = experiment.run_local()
    definition = {"experiment": f"{script}:Slow", "fields": experiment.fields}

    def trained() -> list[str]:
        return notes.read_text("utf-8").splitlines() if notes.exists() else []

    with worker(rig, server, PYTHONHASHSEED="1") as first:
        handle = await rig.client.start_workflow(
            "Experiment", definition, id=f"slow-{rig.queue}", task_queue=rig.queue
        )
        await until(lambda: len(trained()) >= 2)
        first.send_signal(signal.SIGKILL)
        first.wait()
    with worker(rig, server, PYTHONHASHSEED="2") as second:
        await until(lambda: len(trained()) >= 5)
        second.send_signal(signal.SIGKILL)
        second.wait()
    with worker(rig, server, PYTHONHASHSEED="3"):
        assert await value_of(rig, handle) == undisturbed
    tried = [tuple(line.split()[1:]) for line in trained()]
    expected = [(repr(lr), str(depth)) for lr, depth in undisturbed["tried"]]
    assert list(dict.fromkeys(tried)) == expected
    assert len(tried) <= len(expected) + 2, "at most the two stages that were killed ran twice"
    stages = [
        str(entry.at) for entry in rig.store.outcome_log(handle.id).entries() if isinstance(entry, StageEnded)
    ]
    assert len(stages) == len(set(stages))
