"""What the command says of attempts that failed."""

import re
from pathlib import Path

import pytest

from tests.cli.commands import sweep
from tests.cli.conftest import Caller

SCRIPT = """\
from metta.sweep import Resources, RetryPolicy, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

def train(trial):
    if trial.number == 0 and trial.resources.memory_gib < 16:
        raise MemoryError
    if trial.number == 1:
        raise ValueError("no luck today")
    return {"accuracy": trial.resources.memory_gib}

SweepExperiment(
    train,
    {"x": Uniform(0, 1)},
    name="greedy",
    resources=Resources(memory_gib=4),
    retry=RetryPolicy(max_attempts=3, initial=0, on_oom="grow", non_retryable=["user"]),
    executor=LocalExecutor(max_parallel=1),
).run(budget=3)
"""


def test_failed_attempts_are_told_by_kind(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    assert sweep("run", "mine.py").returncode == 0
    shown = call.printed("show", "greedy").splitlines()
    assert shown[1].endswith(": 2 completed, 1 failed")
    assert "failed attempts: 2 oom, 1 user (2 retried)" in shown
    assert "best: accuracy 16 (maximize), trial 0" in shown  # more memory reached its process
    progress = call.json("show", "greedy")["progress"]
    assert progress["failed_attempts"] == {"oom": 2, "user": 1}
    assert progress["retried"] == 2


WITHOUT_VALUE = """\
from time import sleep

from metta.sweep import Budget, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline

def train(trial):
    for step in range(1, 10_000):
        trial.report(step=step, other=1.0)
        sleep(0.01)

search = SweepExperiment(
    train,
    {"x": Uniform(0, 1)},
    metric="accuracy",
    budget=Budget(seconds=0.2),
    executor=LocalExecutor(max_parallel=1),
)
pipeline = Pipeline().stage("search", search).stage("best", lambda results: results.best_params)
"""


@pytest.mark.parametrize(("more", "name"), [("", "both/search"), ("--debug", r"\S+")])
def test_who_wants_the_best_of_trials_without_a_value_is_told(
    project: Path, call: Caller, more: str, name: str
) -> None:
    (project / "mine.py").write_text(WITHOUT_VALUE, "utf-8")
    done = call("run", "mine.py:pipeline", "--name", "both", *more.split())
    assert done.returncode == 1
    told = rf"error: stage best failed: no trial of {name} has a value; 1 were started"
    assert re.fullmatch(told, done.stderr.splitlines()[-1])
