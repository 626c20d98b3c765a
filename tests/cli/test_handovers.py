"""What cannot get from a script to other processes: told before anything is started."""

import re
from pathlib import Path

import pytest

from metta.sweep.client.launches import Launches
from metta.sweep.client.settings import Settings
from tests.cli.conftest import Caller

SCRIPT = """\
from threading import Lock

from metta.sweep import Choice, Uniform
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline

LARGE = "x" * 3 * 1024**2


def train(params):
    return {"accuracy": params["x"]}


def training(lock):
    def guarded(params):
        with lock:
            return {"accuracy": params["x"]}
    return guarded


def one(x):
    return x


class Reading(Experiment):
    table: dict[str, str] = {}

    def pipeline(self):
        return Pipeline().stage("one", one)


SPACE = {"x": Uniform(0, 1)}
WORDS = {"x": Uniform(0, 1), "word": Choice([LARGE, "b"])}
POINTS = [{"x": n / 200_000} for n in range(200_000)]
START
"""


@pytest.fixture
def mine(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    return project


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        (
            "SweepExperiment(training(Lock()), SPACE, name='large').run(1)",
            "what is run: training.<locals>.guarded has to travel to other processes by value, and cannot:"
            " TypeError: cannot pickle '_thread.lock' object. Define it in a module or script, and make there"
            " what cannot travel",
        ),
        (
            "Pipeline().stage('one', one).run(Lock(), name='large')",
            "the input: it cannot be sent: lock has no form of its own",
        ),
    ],
    ids=["code", "input"],
)
@pytest.mark.parametrize("command", ["run", "start"])
def test_what_cannot_travel_is_told(mine: Path, call: Caller, command: str, start: str, problem: str) -> None:
    (mine / "mine.py").write_text(SCRIPT.replace("START", start), "utf-8")
    done = call(command, "mine.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {problem}\n"
    assert not (mine / ".metta-sweep/launches").exists()


@pytest.mark.parametrize(
    ("start", "what", "largest"),
    [
        (
            "SweepExperiment(train, WORDS, name='large').run(1)",
            "sweep",
            "search_space.word.values takes 3.0 MiB: let choices be numbers or short names, and look up in"
            " the training code what they mean",
        ),
        (
            "SweepExperiment(train, SPACE, name='large', initial_points=POINTS).run(1)",
            "sweep",
            "initial_points takes 2.8 MiB: give fewer; trials with known results belong into warm_start=,"
            " which the store keeps",
        ),
        (
            "Reading(table={'rows': LARGE}).run(1, name='large')",
            "experiment",
            "fields.table.rows takes 3.0 MiB: put what is large into a file, and give its path to the"
            " experiment",
        ),
    ],
    ids=["space", "points", "fields"],
)
@pytest.mark.parametrize("command", ["run", "start"])
def test_what_is_too_large_is_told_with_what_takes_most_and_what_to_do(
    mine: Path, call: Caller, command: str, start: str, what: str, largest: str
) -> None:
    (mine / "mine.py").write_text(SCRIPT.replace("START", start), "utf-8")
    done = call(command, "mine.py")
    assert (done.returncode, done.stdout) == (2, "")
    head, size, most = done.stderr.splitlines()
    assert head == f"error: 2 mistakes in the {what} large:"
    assert re.fullmatch(
        r"- [23],\d{3},\d{3} bytes would be sent, and the Temporal server takes 2,097,152 at most", size
    )
    assert most == f"- {largest}"
    assert not [*(mine / ".metta-sweep").glob("*/large")]  # nothing is recorded
    assert Launches(mine / ".metta-sweep").unfinished() == []
