"""Ready-made stages on a real server: each search is a sweep of its own."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.events import Known
from metta.sweep.contracts.experiments import ExperimentResult
from metta.sweep.contracts.outcomes import StageEnded
from metta.sweep.experiments import SweepContext
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore
from metta.sweep.worker.main import BEAT
from tests.experiments import ready
from tests.rig import Handle, Rig, working

SCRIPT = Path(ready.__file__)


@pytest.fixture
async def rig(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setenv("METTA_SWEEP_STORE", str(tmp_path / "rig" / "store"))  # for observations
    # as our own worker: what is cancelled hears of it soon
    async with working(server, tmp_path / "rig", max_heartbeat_throttle_interval=BEAT) as made:
        yield made


async def context_of(rig: Rig, kind: str, **fields: object) -> tuple[Handle, Any]:
    definition = {"experiment": f"{SCRIPT}:{kind}", "fields": fields}
    name = f"experiment-{os.urandom(4).hex()}"
    handle = await rig.client.start_workflow("Experiment", definition, id=name, task_queue=rig.queue)
    result = ExperimentResult.model_validate(await handle.result())
    return handle, Packer(DataStore(rig.store.root), pickle=False).unkept(result.value)


def sweep_in(rig: Rig, stage: str) -> str:
    [name] = [name for name in rig.store.names() if name.startswith(f"{stage}/")]
    return name


def begun_with(rig: Rig, sweep: str) -> int:
    """So many observations a sweep was begun with."""
    return sum(isinstance(e, Known) for chunk in rig.store.ledger(sweep).read() for e in chunk.events)


async def test_each_search_is_a_sweep_that_begins_with_all_before_it(rig: Rig) -> None:
    handle, context = await context_of(rig, "Hill")
    assert type(context) is SweepContext
    assert len(context.observations) == len(context.trials) == 6 + 4 + 2 * 3
    assert context.best_score > 0.95
    assert context.current_phase == "validate"
    explore, model, validate = (sweep_in(rig, f"{handle.id}/{n}") for n in ("explore", "model", "validate"))
    assert [len(rig.table(sweep).records) for sweep in (explore, model, validate)] == [6, 4, 6]
    assert [begun_with(rig, sweep) for sweep in (explore, model, validate)] == [0, 6, 0]
    first = [record.params for record in rig.table(explore).records]
    assert [trial.params for trial in context.trials[:6]] == first


async def test_branches_run_side_by_side_and_are_put_together(rig: Rig) -> None:
    handle, context = await context_of(rig, "Hybrid", good=2.0)
    assert len(context.observations) == 3 + 2 + 4 + 2
    ended = [e.at.path for e in rig.store.outcome_log(handle.id).entries() if isinstance(e, StageEnded)]
    assert sorted(ended[:3]) == [f"@parallel/{n}" for n in ("grid_search", "random_search", "sobol_sequence")]
    assert ended[3:] == ["merge", "@if/else/global"]
    assert begun_with(rig, sweep_in(rig, f"{handle.id}/@if/else/global")) == 9
