"""A shared worker and its queue, with the command, a real server and real workers."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.stores.trials import TrialTable
from tests.cli.commands import sweep
from tests.cli.conftest import Caller, shapes
from tests.rig import runners_of
from tests.worker.labs import SWEEP, make_lab, shared

END_S = 15

EXPERIMENT = """
from metta.sweep.experiments.base import Experiment, Pipeline

class Mine(Experiment):
    def pipeline(self) -> Pipeline:
        return Pipeline().stage("one", lambda n: 1)
"""

ASKING = """
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments import SweepExperiment
from my_lab.training import SPACE, train

def search(n: int) -> float:
    return SweepExperiment(train, SPACE).run(budget=1, queue="x").best_metric

class Asking(Experiment):
    def pipeline(self) -> Pipeline:
        return Pipeline().stage("search", search)
"""


@pytest.fixture(autouse=True)
def _nothing_imported() -> Iterator[None]:
    """The lab is another one in each test, and commands are called in this process."""
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        del sys.modules[name]


def script(folder: Path, name: str, objective: str = "train") -> None:
    (folder / "mine.py").write_text(SWEEP.format(name=name, objective=objective), "utf-8")


def table(name: str) -> TrialTable:
    return Sweeps(Settings.load()).table(name)


def test_a_registered_objective_runs_on_a_shared_queue(project: Path, call: Caller) -> None:
    make_lab(project)
    script(project, "digits")
    with shared("my_lab") as worker:
        done = sweep("run", "mine.py", "--queue", "metta-sweep")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("digits is finished: its budget is used up\n3 of 3 trials in ")
        assert "note:" not in done.stderr
        assert not (project / ".metta-sweep/launches/digits.json").exists()  # no worker of its own
        again = call.json("run", "mine.py", "--queue", "metta-sweep", "--resume", "--budget", "4")
        assert again["progress"]["counts"]["started"] == 4
        worker.send_signal(signal.SIGINT)
        assert worker.wait(END_S) == 0
        assert worker.stdout is not None
        assert worker.stdout.read() == (
            "queue    metta-sweep\n"
            "modules  metta.sweep, my_lab\n"
            "allows   no commands, scripts, code by value or pickles\n"
            "Ctrl-C ends it; its work goes on with another worker.\n"
            "next: sweep start FILE --queue metta-sweep\n"
        )


def test_what_a_worker_refuses_before_anything_is_recorded_is_listed(project: Path, call: Caller) -> None:
    make_lab(project)
    script(project, "digits")
    with shared("metta.sweep"):  # which has not been told of the lab
        call.printed("start", "mine.py", "--queue", "metta-sweep")
        refused = call("attach", "digits")
        assert refused.returncode == 2
        assert (
            " is not registered with this worker, which knows metta.sweep: register it with "
            in refused.stderr
        )
        assert [(each["sweep"], each["state"]) for each in call.json("ls")] == [("digits", "failed")]
        shown = call.printed("show", "digits")
    assert shown.startswith("digits has failed\n0 trials in 0.0 s\nnothing is recorded of it\n")


def test_what_is_started_on_a_queue_is_attached_to_paused_and_goes_on_with_another_worker(
    project: Path, call: Caller
) -> None:
    make_lab(project)
    script(project, "slow", "gated")
    idle = call("start", "mine.py", "--queue", "gpus")
    assert idle.returncode == 0, idle.stderr
    note = "note: nobody serves the queue gpus by now: `sweep worker MODULES --queue gpus` does\n"
    assert idle.stderr.endswith(note)
    assert idle.stdout.startswith("next: sweep attach slow   UI: http://127.0.0.1:")
    with shared("my_lab", "--queue", "gpus") as first, shared("my_lab", "--queue", "gpus") as second:
        workers = [psutil.Process(process.pid) for process in (first, second)]
        while not any(runners_of(worker.pid) for worker in workers):
            assert all(worker.is_running() for worker in workers)
        host = next(worker for worker in workers if runners_of(worker.pid))
        assert call.json("pause", "slow")["pause"] == "soon"
        assert call.json("resume", "slow")["pause"] is None
        host.kill()
        (project / "gate").touch()
        done = call.json("attach", "slow")
        assert (done["state"], done["progress"]["counts"]["completed"]) == ("finished", 3)
    assert table("slow").epoch == 2


def test_children_run_on_the_queue_of_their_root(project: Path, call: Caller) -> None:
    make_lab(project)
    (project / "mine.py").write_text(
        "from my_lab.training import Search\nSearch(n=2).run(1, name='both')\n", "utf-8"
    )
    with shared("my_lab"):
        assert 0 < call.json("run", "mine.py", "--queue", "metta-sweep")["value"]["packed"] < 1
        assert not list((project / ".metta-sweep/launches").glob("*.json"))


@pytest.mark.parametrize(
    ("lines", "named", "where"),
    [
        ("def train(params):\n    return {'accuracy': params['x']}", "train", "in the script mine.py"),
        (
            "train = lambda params: {'accuracy': params['x']}",
            "<lambda>",
            "in a notebook, a function or this program",
        ),
    ],
)
def test_code_of_a_script_is_refused_at_once(
    project: Path, call: Caller, lines: str, named: str, where: str
) -> None:
    made = "SweepExperiment(train, SPACE, name='digits').run(budget=3)"
    head = "from metta.sweep import Uniform\nfrom metta.sweep.experiments import SweepExperiment\n"
    text = f"{head}SPACE = {{'x': Uniform(0, 1)}}\n{lines}\n{made}\n"
    (project / "mine.py").write_text(text, "utf-8")
    done = call("run", "mine.py", "--queue", "gpus")
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: the sweep digits: {named} is defined {where}, which the workers of the queue gpus do not"
        " have: put it into a module that they register (`sweep worker my_lab --queue gpus`) and import it"
        " from there, or leave the queue out"
    )
    assert not (project / ".metta-sweep/server").exists()  # nothing was begun


def test_modules_that_cannot_be_imported_are_told_together(project: Path) -> None:
    (project / "broken.py").write_text("raise ValueError('no luck today')", "utf-8")
    done = sweep("worker", "nothing", "broken", "json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: 2 mistakes in the modules of the worker:\n"
        "- nothing cannot be imported: ModuleNotFoundError: No module named 'nothing'\n"
        f"- broken cannot be imported: {project}/broken.py:1: ValueError: no luck today\n"
    )
    wrong = sweep("worker", "--allow", "comands")
    assert wrong.returncode == 2
    assert "'commands', 'scripts', 'by-value' or 'pickle', got 'comands'" in wrong.stderr


def test_settings_say_what_a_worker_takes_and_where_work_goes(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lab(project)
    script(project, "digits")
    said = '[tool.metta-sweep]\nqueue = "gpus"\nworker = {modules = ["my_lab"], allow = ["commands"]}\n'
    (project / "pyproject.toml").write_text(said, "utf-8")
    with shared("--json") as worker:
        assert worker.stdout is not None
        [told] = shapes("worker", worker.stdout.readline())
        assert told == {"queue": "gpus", "modules": ["metta.sweep", "my_lab"], "allow": ["commands"]}
        assert call.json("run", "mine.py")["state"] == "finished"
        assert not (project / ".metta-sweep/launches/digits.json").exists()
        # somebody may want a worker of his own nevertheless
        own = call.json("run", "mine.py", "--queue", "", "--name", "own")
        assert own["state"] == "finished"
        assert (project / ".metta-sweep/launches/own.json").exists()
    monkeypatch.setenv("METTA_SWEEP_MODULES", "my_lab.training, json")
    monkeypatch.setenv("METTA_SWEEP_ALLOW", "scripts,by-value")
    monkeypatch.setenv("METTA_SWEEP_QUEUE", "cpus")
    here = Settings.load()
    assert (here.worker.modules, here.worker.allow) == (("my_lab.training", "json"), ("scripts", "by-value"))
    assert here.queue == "cpus"


def test_a_worker_ends_when_it_is_told_to(project: Path) -> None:
    with shared("json") as worker:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(END_S) == 0
    assert "Traceback" not in Path("worker.log").read_text("utf-8")


def test_an_experiment_of_a_script_is_refused_at_once(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(EXPERIMENT, "utf-8")
    done = call("start", "mine.py:Mine", "--queue", "gpus", "--name", "alone")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the experiment alone: Mine is defined in the script mine.py, which")


def test_where_the_project_has_a_queue_it_is_told_how_to_have_none(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(EXPERIMENT, "utf-8")
    (project / "pyproject.toml").write_text('[tool.metta-sweep]\nqueue = "gpus"\n', "utf-8")
    for more in ((), ("--queue", "cpus")):
        done = call("start", "mine.py:Mine", "--name", "alone", *more)
        assert done.returncode == 2
        assert 'or start a worker of its own with `--queue ""`, or queue=""\n' in done.stderr


def test_what_has_failed_or_is_over_goes_on_on_its_queue(project: Path, call: Caller) -> None:
    make_lab(project)
    script(project, "digits")
    with shared():
        refused = call("run", "mine.py", "--queue", "metta-sweep")
        assert refused.returncode == 2
        assert "with `sweep worker my_lab`, or with modules=['my_lab'] of MettaSweepPlugin" in refused.stderr
    with shared("my_lab"):
        assert call.json("run", "mine.py", "--queue", "metta-sweep")["state"] == "finished"
        again = call.json("retry", "digits", "--budget", "4")
        assert again["progress"]["counts"]["completed"] == 4
        more = call.json("run", "mine.py", "--resume", "--budget", "5")
        assert more["progress"]["counts"]["completed"] == 5
        assert not list((project / ".metta-sweep/launches").glob("*.json"))


def test_what_a_stage_runs_takes_no_queue_of_its_own(project: Path, call: Caller) -> None:
    make_lab(project)
    (project / "my_lab/asking.py").write_text(ASKING, "utf-8")
    (project / "mine.py").write_text("from my_lab.asking import Asking\nAsking().run(1)\n", "utf-8")
    with shared("my_lab"):
        done = call("run", "mine.py", "--queue", "metta-sweep")
        assert done.returncode == 1
        assert (
            "queue: what a stage runs goes to the queue of its experiment; leave it out, got 'x'"
            in done.stderr
        )
