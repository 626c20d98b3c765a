"""Handles and the sweeps of a project, on a real server with real workers."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from time import sleep

import pytest

from metta.sweep.client import runs
from metta.sweep.client.handle import SweepHandle
from metta.sweep.client.loop import call
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.contracts.budgets import Budget
from metta.sweep.contracts.errors import (
    DefinitionError,
    NameInUse,
    ServerError,
    SweepEnded,
    SweepFailed,
    SweepNotFound,
)
from metta.sweep.contracts.sweeps import SweepInput

OBJECTIVES = """\
import time
from pathlib import Path

def train(trial):
    for step in range(1, 9):
        time.sleep(0.1)
        trial.report(step=step, accuracy=trial.params["x"])

def gated(trial):
    trial.report(step=1, accuracy=trial.params["x"])
    while not Path("gate").exists():
        time.sleep(0.02)
"""


@pytest.fixture
def sweeps(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Sweeps:
    """The sweeps of a project on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "mine.py").write_text(OBJECTIVES, "utf-8")
    return Sweeps()


def definition(trials: int, resume: bool = False, objective: str = "train") -> SweepInput:
    return SweepInput.model_validate(
        {
            "objective": f"mine.py:{objective}",
            "search_space": {"x": {"type": "uniform", "low": 0, "high": 1}},
            "executor": {"type": "local", "max_parallel": 1},
            "budget": trials,
            "resume": resume,
        }
    )


def wait_for_a_report(handle: SweepHandle) -> None:
    while not handle.status().progress.best:
        sleep(0.05)


def test_a_sweep_is_changed_while_it_runs_and_not_afterwards(sweeps: Sweeps) -> None:
    handle = sweeps.start("changed", definition(9, objective="gated"))
    wait_for_a_report(handle)
    assert handle.status().state == "running"
    assert handle.set_budget(Budget(hours=1)).budget == Budget(trials=9, hours=1)
    with pytest.raises(DefinitionError, match="trials: input should be greater than or equal to 1, got 0"):
        handle.set_budget(0)
    assert sweeps.attach("changed").set_budget(1).budget.trials == 1
    while sweeps.table("changed").control.budget.trials != 1:  # its session asks once a second
        sleep(0.05)
    Path("gate").touch()
    assert len(handle.result().trials) == 1
    over = "changed is over; run it again with resume=True"
    with pytest.raises(SweepEnded, match=over):
        handle.set_budget(5)
    with pytest.raises(SweepEnded, match=over):
        handle.stop()
    with pytest.raises(NameInUse):
        sweeps.start("changed", definition(9))
    assert [h.sweep_id for h in sweeps.handles()] == ["changed"]


def test_a_sweep_that_was_terminated_is_cancelled_and_goes_on(sweeps: Sweeps) -> None:
    handle = sweeps.start("terminated", definition(1))
    wait_for_a_report(handle)
    call(_terminate(handle))
    with pytest.raises(SweepFailed, match="terminated was cancelled; run it again with resume=True"):
        handle.result().trials  # noqa: B018  # reading waits
    assert handle.status().state == "cancelled"
    assert len(sweeps.start("terminated", definition(1, resume=True)).result().trials) == 1


async def _terminate(handle: SweepHandle) -> None:
    await (await handle._workflow()).terminate()


def test_a_worker_that_does_not_answer_is_told(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "UPDATE_TIMEOUT", timedelta(seconds=1))
    handle = sweeps.start("silent", definition(1))
    wait_for_a_report(handle)
    worker = int(Path(sweeps.store.address, "launches/silent.lock").read_text("utf-8").split()[0])
    os.kill(worker, signal.SIGSTOP)
    try:
        with pytest.raises(
            ServerError, match="no worker of silent answers yet; `sweep attach silent` brings one"
        ):
            handle.set_budget(1)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert len(handle.result().trials) == 1


def test_an_unknown_sweep_is_not_found(sweeps: Sweeps) -> None:
    with pytest.raises(SweepNotFound, match="there is no sweep 'absent' here"):
        sweeps.attach("absent")
