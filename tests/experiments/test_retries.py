"""Retries by programs, which know of an experiment no more than its name."""

import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest
from rich.console import Console

from metta.sweep import DefinitionError, StageFailed
from metta.sweep.client import retries
from metta.sweep.client.launches import Launch
from metta.sweep.client.settings import Settings
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.experiments import ExperimentInput
from metta.sweep.contracts.outcomes import AttemptFailed, Began
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline
from metta.sweep.worker.dev import stop_dev
from metta.sweep.worker.main import LOOK_S
from tests.cli.commands import script, sweep
from tests.experiments import nesting

SCRIPT = """\
from pathlib import Path
from time import sleep
from metta.sweep import RetryPolicy
from metta.sweep.experiments.base import Pipeline

LUCK = None

def noted(text):
    with Path("notes").open("a") as notes:
        notes.write(f"{text}\\n")

def load(x: int):
    noted("load")
    return x

def train(x: int):
    noted("train")
    if LUCK is None:
        raise ValueError("no luck")
    return x + LUCK

twice = RetryPolicy(max_attempts=2, initial=0)
flow = Pipeline().stage("load", load).stage("train", train).through(int, retry=twice)

def wait(x: int):
    noted("wait")
    while not Path("gate").exists():
        sleep(0.02)
    return x

waiting = Pipeline().stage("wait", wait)
"""


@pytest.fixture
def failed(project: Path) -> Path:
    """A project with an experiment that has failed at each of its two attempts."""
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    done = sweep("run", "mine.py:flow", "--name", "flow", "--input", "1")
    assert "stage train failed after 2 attempts: ValueError: no luck" in done.stderr
    return project


def mend(project: Path, now: str = "LUCK = 1") -> None:
    text = (project / "mine.py").read_text("utf-8")
    (project / "mine.py").write_text(text.replace("LUCK = None", now), "utf-8")


async def started(starts: Starts, name: str, queue: str, input: ExperimentInput) -> None:
    """Start an experiment in the queue of a launch, and with other JSON than programs do."""
    client = await starts.client()
    await client.start_workflow("Experiment", input, id=name, task_queue=queue)


def notes(project: Path) -> Counter[str]:
    return Counter((project / "notes").read_text("utf-8").splitlines())


def test_attempts_of_the_stage_that_failed_count_anew(failed: Path) -> None:
    handle = Experiment.attach("flow")
    with pytest.raises(StageFailed, match="train failed after 2 attempts: ValueError: no luck"):
        handle.retry().result()
    assert notes(failed) == {"load": 1, "train": 4}
    attempts = [e.failure.attempts for e in handle.log.entries() if isinstance(e, AttemptFailed)]
    assert attempts == [1, 2, 1, 2]
    mend(failed)
    assert handle.retry().result() == 2
    assert notes(failed) == {"load": 1, "train": 5}
    with pytest.raises(DefinitionError, match="it has completed; say from which stage it is to be run again"):
        handle.retry()
    assert handle.retry(from_stage="load").result() == 2
    assert notes(failed) == {"load": 2, "train": 6}


def test_of_two_retries_at_the_same_moment_one_begins(failed: Path) -> None:
    mend(failed)
    handles = [Experiment.attach("flow") for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(handle.retry) for handle in handles]
    refused = [error for future in begun if (error := future.exception())]
    assert [type(error) for error in refused] == [DefinitionError]
    assert handles[0].result() == 2
    assert notes(failed) == {"load": 1, "train": 3}
    assert len([entry for entry in handles[0].log.entries() if isinstance(entry, Began)]) == 2


def test_a_retry_that_another_one_has_overtaken_does_not_begin(
    failed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend(failed)
    usual = retries._launch_of

    def overtaken(starts: Starts, name: str) -> Launch:
        monkeypatch.setattr(retries, "_launch_of", usual)
        assert Experiment.attach("flow").retry().result() == 2
        return usual(starts, name)

    monkeypatch.setattr(retries, "_launch_of", overtaken)
    with pytest.raises(DefinitionError, match="somebody else has just begun it again"):
        Experiment.attach("flow").retry()
    assert Experiment.attach("flow").result() == 2
    assert notes(failed) == {"load": 1, "train": 3}


def test_a_retry_of_a_sweep_that_another_one_has_overtaken_does_not_begin(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(project)
    done = sweep("run", "mine.py", "--name", "searched")
    assert done.returncode == 0, done.stderr
    usual = retries._launch_of

    def overtaken(starts: Starts, name: str) -> Launch:
        monkeypatch.setattr(retries, "_launch_of", usual)
        assert len(SweepExperiment.attach("searched").retry(budget=4).result().trials) == 4
        return usual(starts, name)

    monkeypatch.setattr(retries, "_launch_of", overtaken)
    with pytest.raises(DefinitionError, match="the sweep searched: somebody else has just begun it again"):
        SweepExperiment.attach("searched").retry(budget=5)
    assert len(SweepExperiment.attach("searched").result().trials) == 4


def test_all_that_is_needed_lies_in_the_store(failed: Path) -> None:
    mend(failed)
    stop_dev(Settings.load(failed), Console(quiet=True))
    shutil.rmtree(failed / ".metta-sweep/server")  # what Temporal knew, it has forgotten
    shutil.rmtree(failed / ".metta-sweep/launches")
    handle = Experiment.attach("flow")
    assert handle.status().state == "failed"
    assert handle.retry().result() == 2
    assert handle.notes[0].startswith("nothing here tells how it was run before: a worker of its own goes on")
    assert notes(failed) == {"load": 1, "train": 3}


def test_a_worker_that_still_has_the_code_as_it_was_is_ended(failed: Path) -> None:
    waiting = ExperimentInput(experiment=f"{failed / 'mine.py'}:waiting", input=1, client="test")
    with pytest.raises(StageFailed):
        Experiment.attach("flow").retry().result()
    starts = Starts()
    starts.begun_again(starts.launches.read("flow"), lambda: started(starts, "waiting", "flow", waiting))
    while "wait" not in notes(failed):  # in one process; the other one fails again
        sleep(0.05)
    launch = starts.launches.read("flow")
    again = ExperimentInput(experiment=f"{failed / 'mine.py'}:flow", resume=True, client="test")
    starts.begun_again(launch, lambda: started(starts, "flow", "flow", again))
    with pytest.raises(StageFailed):
        Experiment.attach("flow").result()
    sleep(2 * LOOK_S)
    assert starts.launches.is_alive("flow")
    mend(failed)
    assert Experiment.attach("flow").retry().result() == 2
    (failed / "gate").touch()
    assert Experiment.attach("waiting").result() == 1


def test_code_that_was_sent_by_value_is_as_it_was_sent(project: Path) -> None:
    name = f"{project}/mended"

    def train(x: int) -> int:
        if not Path(name).exists():
            raise ValueError("no luck")
        return x + 1

    pipeline = Pipeline().stage("train", train)
    handle = pipeline.start(1, name="sent")
    with pytest.raises(StageFailed):
        handle.result()
    (project / "mended").touch()
    again = Experiment.attach("sent").retry()
    assert again.result() == 2
    assert again.notes[0].startswith("its code lies in the store as it was sent")


def test_what_failed_before_it_began_has_nothing_to_go_on_with(project: Path) -> None:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    starts = Starts()
    wrong = ExperimentInput(experiment=f"{project / 'mine.py'}:nothing", input=1, client="test")
    code = Code(objective="", cwd=str(project), path=(str(project),))
    starts.begun_again(Launch(queue="wrong", code=code), lambda: started(starts, "wrong", "wrong", wrong))
    handle = Experiment.attach("wrong")
    with pytest.raises(DefinitionError, match="nothing"):
        handle.result()
    with pytest.raises(DefinitionError, match="nothing is recorded of it: it was over before it began"):
        handle.retry()


def test_a_larger_budget_lets_an_experiment_go_on_that_has_spent_its_own(project: Path) -> None:
    with pytest.raises(StageFailed, match="nothing is left for search/second of the budget"):
        nesting.Blocking().start(budget=2, name="spent").result()
    handle = Experiment.attach("spent")
    with pytest.raises(StageFailed, match="nothing is left"):  # it has the budget that it had
        handle.retry().result()
    assert len(handle.retry(budget=4).result().sweeps) == 2
    assert handle.retry(from_stage="search", budget=8).result().sweeps == [
        "spent/search/first~1",
        "spent/search/second~1",
    ]
