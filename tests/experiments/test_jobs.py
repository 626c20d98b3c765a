"""Programs and workers as executors, from the public API, on a project's own server."""

import subprocess
import sys
from pathlib import Path

import pytest

from metta.sweep import DefinitionError, Job, SweepFailed, Uniform
from metta.sweep.executors import LocalExecutor, WorkerExecutor
from metta.sweep.experiments import SweepExperiment

X = {"x": Uniform(0, 1)}
ONE = LocalExecutor(max_parallel=1)

PROGRAM = """\
from metta.sweep.trial import current_trial

trial = current_trial()
print("hello from", trial.number)
trial.report(1, accuracy=trial.params["x"])
"""

SCRIPT = """\
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

sweep = SweepExperiment("program.py", {"x": Uniform(0, 1)}, metric="accuracy", seed=1, name="scripted")
if __name__ == "__main__":
    print(sweep.run(2).best_metric)
"""


def test_a_script_is_a_program(hosted: Path) -> None:
    (hosted / "program.py").write_text(PROGRAM, "utf-8")
    sweep = SweepExperiment("program.py", X, metric="accuracy", executor=ONE, seed=1, name="scripts")
    results = sweep.run(3)
    assert [trial.metrics for trial in results.trials] == [
        {"accuracy": t.params["x"]} for t in results.trials
    ]
    log = hosted / ".metta-sweep/sweeps/scripts/trials/2/seg-0/try-1/log.txt"
    assert log.read_text("utf-8") == "hello from 2\n"
    more = sweep.run(5, resume=True)
    assert len(more.trials) == 5


def test_the_command_runs_a_sweep_of_a_program(hosted: Path) -> None:
    (hosted / "program.py").write_text(PROGRAM, "utf-8")
    (hosted / "script.py").write_text(SCRIPT, "utf-8")
    command = [str(Path(sys.executable).with_name("sweep")), "run", "script.py", "--budget", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    show = [command[0], "show", "scripted"]
    shown = subprocess.run(show, capture_output=True, text=True, timeout=50, check=True).stdout
    assert "2 of 2 trials" in shown


def test_a_program_that_fails_says_why(hosted: Path) -> None:
    job = Job(command=["sh", "-c", "echo out of luck; exit 4"])
    with pytest.raises(SweepFailed, match="it exited with code 4"):
        SweepExperiment(job, X, metric="accuracy", executor=ONE, max_failures=1).run(2)


def test_functions_run_on_workers_even_by_value(hosted: Path) -> None:
    scale = 2.0
    sweep = SweepExperiment(
        lambda params: {"accuracy": scale * params["x"]}, X, executor=WorkerExecutor(max_parallel=2), seed=1
    )
    results = sweep.run(3)
    assert [t.metrics["accuracy"] for t in results.trials] == [2 * t.params["x"] for t in results.trials]


def test_another_program_under_the_same_name_is_refused(hosted: Path) -> None:
    (hosted / "program.py").write_text(PROGRAM, "utf-8")
    SweepExperiment("program.py", X, metric="accuracy", executor=ONE, name="mine").run(1)
    other = SweepExperiment(Job(command=["true"]), X, metric="accuracy", executor=ONE, name="mine")
    with pytest.raises(DefinitionError, match="objective was"):
        other.run(2, resume=True)


def test_a_program_cannot_be_debugged_in_this_process(project: Path) -> None:
    with pytest.raises(DefinitionError, match="true is a program, which cannot run in this process"):
        SweepExperiment(Job(command=["true"]), X, metric="accuracy", name="mine").run(1, debug=True)


@pytest.mark.parametrize("queue", ["", 3])
def test_a_wrong_worker_executor_is_refused(queue: object) -> None:
    with pytest.raises(DefinitionError) as caught:
        WorkerExecutor(max_parallel=0, queue=queue)  # type: ignore[arg-type]
    assert len(caught.value.problems) == 2
