"""Scripts that run nothing, and options that do not fit what they run."""

from pathlib import Path

import pytest

from tests.cli.commands import sweep
from tests.cli.conftest import Caller
from tests.cli.records import begun, recorded

SCRIPT = """\
from metta.sweep import Uniform
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline

class Adding(Experiment):
    step: int = 1

    def pipeline(self):
        return Pipeline().stage("add", self.add)

    def add(self, x: int):
        return x + self.step

def fail(x: int):
    raise ValueError("no luck today")

def quit(x: int):
    raise SystemExit(3)

failing = Pipeline().stage("fail", fail)
quitting = Pipeline().stage("quit", quit)
sweep = SweepExperiment(lambda params: {"accuracy": params["x"]}, {"x": Uniform(0, 1)}, metric="accuracy")
broken = SweepExperiment(fail, {"x": Uniform(0, 1)}, metric="accuracy")
"""


@pytest.mark.parametrize("command", ["run", "start"])
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("mne.py", "the script: there is no file 'mne.py'; did you mean mine.py?"),
        ("folder.py", "the script: there is no file 'folder.py'. Known: mine.py"),
        ("mine.py", "mine.py: it runs none of its experiments; say which: mine.py:Adding or mine.py:failing"),
        ("mine.py:swep", "the script: mine.py has no experiment called 'swep'; did you mean sweep?"),
        ("mine.py:sweep --budget 0", "the budget: trials: input should be greater than or equal to 1, got 0"),
        ("mine.py:sweep --input 1", "the arguments: --input is given, but a sweep has no input"),
        (
            "mine.py:sweep --set n=1",
            "--set: n cannot be set: only an Experiment has fields, and it is a Sweep",
        ),
        ("mine.py:sweep --name a/b", "the sweep: name 'a/b' has to be letters, digits, '.', '_' and '-', at"),
        (
            "mine.py:sweep --name digits",
            "the sweep's name: the name 'digits' is in use; continue that sweep ",
        ),
        (
            "mine.py:sweep --name talk",
            "the sweep's name: the name 'talk' is in use by an experiment; choose ",
        ),
        ("mine.py:Adding --set stp=1", "Adding: stp is unknown; did you mean step?"),
        ("mine.py:Adding --set step=x", "Adding: step: input should be a valid integer, unable to parse "),
        ("mine.py:Adding --set step", "--set: write NAME=VALUE, got 'step'"),
        ("mine.py:Adding --input {", "--input: it has to be JSON, got '{': Expecting property name enclosed"),
        (
            "mine.py:Adding --input []",
            "the input: it does not fit int: input should be a valid integer, got []",
        ),
        (
            "mine.py:failing --name a/b --input 1",
            "the experiment: name 'a/b' has to be letters, digits, '.',",
        ),
        (
            "mine.py:failing --name digits --input 1",
            "the experiment's name: the name 'digits' is in use by a",
        ),
        (
            "mine.py:failing --name talk --input 1",
            "the experiment's name: the name 'talk' is in use; continue",
        ),
    ],
)
def test_what_cannot_be_run_is_told_and_nothing_is_started(
    project: Path, call: Caller, command: str, arguments: str, problem: str
) -> None:
    recorded(project)
    begun(project)
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    (project / "folder.py").mkdir()
    done = call(command, *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {problem}")
    assert not (project / ".metta-sweep/launches").exists()


@pytest.mark.parametrize("command", ["run", "start"])
@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        (
            "from metta.sweep.experiments import SweepExperiment\nSweepExperiment.attach('digits')",
            2,
            "error: the script: mine.py attaches to digits; `sweep attach` does that\n",
        ),
        ("raise SystemExit(7)", 7, ""),
        ("raise KeyboardInterrupt", 130, ""),
        ("import bdb\nraise bdb.BdbQuit", 130, ""),
    ],
)
def test_a_script_that_comes_to_no_experiment_ends_the_command(
    project: Path,
    call: Caller,
    command: str,
    code: str,
    status: int,
    said: str,
) -> None:
    (project / "mine.py").write_text(code, "utf-8")
    done = call(command, "mine.py")
    assert (done.returncode, done.stdout, done.stderr) == (status, "", said)


def test_a_script_may_say_why_it_ends(project: Path) -> None:
    (project / "mine.py").write_text("raise SystemExit('no more today')", "utf-8")
    done = sweep("run", "mine.py")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no more today\n")


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        ("mine.py:Adding", 1, "stage add failed: its input: it does not fit int: input should be a valid "),
        ("mine.py:failing --input 1", 1, "stage fail failed: ValueError: no luck today"),
        ("mine.py:quitting --input 1", 1, "stage quit failed: SystemExit: 3"),
        (
            "mine.py:broken --budget 2",
            1,
            "all of the 2 finished trials failed, most often with: ValueError: ",
        ),
        ("mine.py:sweep --name digits --resume", 2, "3 mistakes in the sweep digits:\n- objective was "),
        (
            "mine.py:failing --budget 2 --input 1",
            2,
            "the budget: nobody divides a budget in a run in this process; leave",
        ),
    ],
)
def test_what_fails_in_this_process_is_told(
    project: Path, call: Caller, arguments: str, status: int, problem: str
) -> None:
    recorded(project)
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    done = call("run", *arguments.split(), "--debug")
    assert (done.returncode, done.stdout) == (status, "")
    assert f"error: {problem}" in done.stderr
