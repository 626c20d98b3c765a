"""Results of real sweeps in notebooks: as tables, cards and plots."""

from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pandas as pd
import pytest

from metta.sweep import Choice, Integer, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.schedulers import ASHAScheduler

OBJECTIVES = """\
from time import sleep
from metta.sweep import Infeasible

def train(trial):
    x = trial.params["x"]
    if x < 0.35:
        raise Infeasible("too small")
    if x > 0.85:
        raise ValueError("too large")
    start = int(trial.resume_from.read_text()) if trial.resume_from else 0
    for step in range(start + 1, 5):
        path = trial.checkpoint_dir / f"step-{step}"
        path.write_text(str(step))
        trial.report(step=step, checkpoint=path, accuracy=x * step)

def endless(trial):
    for step in range(1, 10_000):
        sleep(0.02)
        trial.report(step=step, accuracy=trial.params["x"])
"""

SPACE = {
    "x": Uniform(0, 1),
    "model": Choice(["cnn", "mlp"]),
    "cnn.depth": Integer(2, 5),
    "mlp.widths": Choice([[32], [64, 32]]),
}


@pytest.fixture
def varied(hosted: Path) -> Path:
    (hosted / "varied.py").write_text(OBJECTIVES, "utf-8")
    return hosted


def test_a_table_tells_of_each_trial_what_its_record_does(varied: Path) -> None:
    results = SweepExperiment(
        "varied.py:train",
        SPACE,
        name="halving",
        metric="accuracy",
        seed=1,
        scheduler=ASHAScheduler(max_epochs=4, reduction_factor=2),
        executor=LocalExecutor(max_parallel=2),
    ).run(budget=24)
    frame: Any = results.to_dataframe()
    assert frame["trial"].tolist() == [*range(24)]
    assert frame["status"].tolist() == [record.status for record in results.trials]
    assert set(frame["status"]) == {"completed", "paused", "failed"}
    assert set(frame["failure.kind"].dropna()) == {"user", "infeasible"}
    assert (frame["failure.kind"].notna() == (frame["status"] == "failed")).all()
    assert frame["value"].max() == results.best_metric
    assert (frame["params.cnn.depth"].notna() == (frame["params.model"] == "cnn")).all()
    assert (frame["params.mlp.widths"].notna() == (frame["params.model"] == "mlp")).all()
    best = frame.loc[frame["value"].idxmax()]
    assert {n: v for n in SPACE if not isinstance(v := best[f"params.{n}"], list) and pd.notna(v)} == {
        n: v for n, v in results.best_params.items() if not isinstance(v, list)
    }
    assert frame["segment"].max() > 0
    for checkpoint in frame.loc[frame["status"] != "failed", "checkpoint"]:
        assert (varied / ".metta-sweep" / "sweeps" / "halving" / checkpoint).exists()
    figure: Any = results.plot()
    assert {trace.name for trace in figure.data} == {"completed", "paused", "failed", "best so far"}
    assert "24 of 24 trials in" in results._repr_html_()


def test_a_running_sweep_is_shown_without_waiting_and_tabled_when_it_has_ended(varied: Path) -> None:
    sweep = SweepExperiment(
        "varied.py:endless", {"x": Uniform(0, 1)}, name="endless", metric="accuracy", seed=1
    )
    handle = sweep.start(budget=2)
    deadline = monotonic() + 30
    while "(maximize), trial" not in (html := handle._repr_html_()):
        assert monotonic() < deadline, html
        sleep(0.05)
    assert "running" in handle._repr_html_()
    pending = handle.result()
    assert "pending" in pending._repr_html_()
    handle.stop()
    frame: Any = pending.to_dataframe()  # which waits
    assert set(frame["status"]) == {"stopped"}
    assert frame["value"].tolist() == frame["params.x"].tolist()
    assert "finished" in handle._repr_html_()
    assert "pending" not in pending._repr_html_()
