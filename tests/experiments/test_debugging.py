"""``run(debug=True)``: trials in the user's own process, recorded like all others."""

import os
import subprocess
import sys
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest

from metta.sweep import DefinitionError, SweepFailed, Trial, Uniform
from metta.sweep.experiments import SweepExperiment

X = {"x": Uniform(0, 1)}

BREAKING = """\
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(params):
    breakpoint()
    return {"accuracy": params["x"]}

sweep = SweepExperiment(train, {"x": Uniform(0, 1)}, name="stepped", seed=1)
if __name__ == "__main__":
    sweep.run(budget=1, debug=True)
"""


def test_trials_run_here_in_the_main_thread_and_are_recorded(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, bool]] = []

    def train(trial: Trial) -> dict[str, float]:
        seen.append((os.getpid(), current_thread() is main_thread()))
        print("training", trial.number)
        return {"accuracy": trial.params["x"]}

    sweep = SweepExperiment(train, X, name="here", metric="accuracy")
    results = sweep.run(2, debug=True)
    assert seen == [(os.getpid(), True)] * 2
    assert [trial.status for trial in results.trials] == ["completed", "completed"]
    assert len(sweep.run(3, debug=True, resume=True).trials) == 3
    out, err = capsys.readouterr()
    assert out == "training 0\ntraining 1\ntraining 2\n"
    assert "sweep here  in this process" in err
    assert "accuracy is maximized, going by its name" in err
    assert not (project / ".metta-sweep/server").exists()
    with pytest.raises(DefinitionError, match="'here' is in use"):
        sweep.run(2, debug=True)


def test_an_exception_is_printed_when_it_happens(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def train(params: dict[str, Any]) -> dict[str, float]:
        if params["x"] < 0.5:
            raise ValueError("x is too small")
        return {"accuracy": params["x"]}

    results = SweepExperiment(train, X, seed=1).run(4, debug=True)
    failed = sum(trial.status == "failed" for trial in results.trials)
    err = capsys.readouterr().err
    assert err.count('raise ValueError("x is too small")') == failed > 0
    assert f"{failed} failed, most often with: ValueError: x is too small" in err


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("good", r"the returned value is 'good' \(str\); return a number or a dict of numbers"),
        (None, "it returned nothing and reported nothing"),
        ({"accuracy": float("nan")}, "metric 'accuracy' is nan; a metric has to be finite"),
        ({}, "there is no metric; give at least one number by name"),
    ],
)
def test_what_is_no_result_fails_with_what_to_return(project: Path, returned: object, message: str) -> None:
    with pytest.raises(SweepFailed, match=message):
        SweepExperiment(lambda params: returned, X).run(9, debug=True)


def test_a_breakpoint_stops_there_and_quitting_loses_nothing(project: Path) -> None:
    (project / "stepped.py").write_text(BREAKING, "utf-8")
    sweep = str(Path(sys.executable).with_name("sweep"))

    def stepped(keys: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sweep, "run", "stepped.py", "--debug", *options]
        return subprocess.run(command, input=keys, capture_output=True, text=True, timeout=30)

    quitted = stepped("p 'x is', params['x']\nq\n")
    assert "('x is', 0." in quitted.stdout
    assert (quitted.returncode, quitted.stderr.count("Traceback")) == (130, 0)
    again = stepped("c\n", "--resume")
    assert again.returncode == 0
    assert "1 of 1 trial in" in again.stderr


def test_a_sweep_that_runs_is_not_debugged(hosted: Path) -> None:
    sweep = SweepExperiment("mine.py:slow", X, name="running")
    handle = sweep.start(1)
    with pytest.raises(DefinitionError, match="it is running; `sweep stop running` ends it"):
        sweep.run(2, debug=True, resume=True)
    handle.stop()
    handle.result().trials  # noqa: B018  # which waits for the end
