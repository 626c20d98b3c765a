"""One recorded stage, run again as often as wanted, with what flowed into it then."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metta.sweep.stores.files import FileStore
from tests.cli.conftest import Caller

SCRIPT = """
from pathlib import Path
from metta.sweep import Uniform, current_stage
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline

BROKEN = True

def train(params):
    return {"accuracy": params["x"]}

search = SweepExperiment(train, {"x": Uniform(0, 1)}, metric="accuracy", budget=1)

class Counting(Experiment):
    limit: int = 5
    total: int = 0

    def pipeline(self):
        return (
            Pipeline()
            .through(n=int)
            .loop_while(lambda n: n < self.limit)
            .stage("count", self.count)
            .through(n=int, checkpoint=True)
            .end_loop()
            .stage("search", search)
        )

    def count(self, n):
        with Path("runs").open("a") as runs:
            runs.write(f"{n} {self.total} {current_stage().seed}\\n")
        self.total += n
        if n == 3 and BROKEN:
            raise ValueError(f"no luck at {n}")
        return {"n": n + 1}
"""


@pytest.fixture
def failed(project: Path, call: Caller) -> Path:
    """A project with an experiment whose fourth turn has failed."""
    (project / "mine.py").write_text(SCRIPT.replace("\\n", "\\n"), "utf-8")
    done = call("run", "mine.py:Counting", "--name", "counted", "--input", '{"n": 0}')
    assert done.returncode == 1
    return project


def lines(project: Path) -> list[str]:
    return (project / "runs").read_text("utf-8").splitlines()


def test_the_stage_that_failed_fails_again_until_its_code_is_mended(failed: Path, call: Caller) -> None:
    log = FileStore(failed / ".metta-sweep").outcome_log("counted")
    before, recorded = lines(failed), list(log.read())
    done = call("replay", "counted", "--stage", "count")
    assert done.returncode == 1
    assert "ValueError: no luck at 3" in done.stderr
    assert done.stdout == "next: sweep replay counted --stage 'count[3]' --pdb\n"
    [told], _ = call.failed(1, "replay", "counted", "--stage", "count")
    assert told["failure"]["message"] == "ValueError: no luck at 3"
    assert lines(failed)[len(before) :] == [before[-1]] * 2, "it had another input, fields or seed"
    script = failed / "mine.py"
    script.write_text(script.read_text("utf-8").replace("BROKEN = True", "BROKEN = False"), "utf-8")
    mended = subprocess.run(
        [str(Path(sys.executable).with_name("sweep")), "replay", "counted", "--stage", "count"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.splitlines() == [
        "count[3] gave Record(n=4)",
        "  total = 6",
        "next: sweep show counted",
    ]
    assert list(log.read()) == recorded


def test_any_run_of_a_stage_is_run_again(failed: Path, call: Caller) -> None:
    script = failed / "mine.py"
    text = script.read_text("utf-8").replace(
        "        self.total += n\n", "        print(n)\n        self.total += n\n"
    )
    script.write_text(f"print('defining')\n{text}", "utf-8")
    kept = (failed / ".metta-sweep/experiments/counted/checkpoints/count[1].json").read_bytes()
    told = call.json("replay", "counted", "--stage", "count[1]")
    assert (told["stage"], told["value"], told["fields"], told["failure"]) == (
        "count[1]",
        "Record(n=2)",
        {"total": 1},
        None,
    )
    assert lines(failed)[-1] == lines(failed)[1]
    [attached], _ = call.failed(1, "attach", "counted")
    assert attached["state"] == "failed"
    assert (failed / ".metta-sweep/experiments/counted/checkpoints/count[1].json").read_bytes() == kept


def test_what_failed_can_be_looked_at_in_the_debugger(failed: Path) -> None:
    command = [str(Path(sys.executable).with_name("sweep")), "replay", "counted", "--stage", "count", "--pdb"]
    done = subprocess.run(
        command, input="p n * 100 + self.total\nq\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("ValueError: no luck at 3") == 1
    assert "306" in done.stdout


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("coun", "there is no stage coun; did you mean count?"),
        ("count[9]", "count[9] was not reached; it was run as count[0], count[1], count[2], count[3]"),
        ("search", "the stage search was not reached"),
        ("", "there is no stage ''"),
    ],
)
def test_a_stage_that_cannot_be_run_again_is_told(
    failed: Path, call: Caller, stage: str, problem: str
) -> None:
    done = call("replay", "counted", "--stage", stage)
    assert done.returncode == 2
    assert problem in done.stderr


def test_an_experiment_that_is_another_one_by_now_is_refused(failed: Path, call: Caller) -> None:
    script = failed / "mine.py"
    script.write_text(script.read_text("utf-8").replace("checkpoint=True", "retry=2"), "utf-8")
    done = call("replay", "counted", "--stage", "count")
    assert done.returncode == 2
    assert "its pipeline was changed since" in done.stderr


def test_a_name_of_which_nothing_is_recorded_is_told(project: Path, call: Caller) -> None:
    done = call("replay", "nobody", "--stage", "count")
    assert (done.returncode, done.stderr) == (1, "error: there is no experiment 'nobody' here\n")
    done = call("replay", "nobody", "--pdb")
    assert (done.returncode, done.stderr) == (2, "error: --pdb: it debugs a stage: add --stage\n")


def test_a_stage_with_a_workflow_of_its_own_is_not_run_here(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(SCRIPT.replace("\\n", "\\n").replace("= True", "= False", 1), "utf-8")
    call.printed("run", "mine.py:Counting", "--name", "whole", "--input", json.dumps({"n": 4}))
    done = call("replay", "whole", "--stage", "search")
    assert done.returncode == 2
    assert "search has a workflow of its own" in done.stderr
