"""An experiment that is over goes on by its name alone: where it failed, or from a stage on."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.outcomes import Began
from metta.sweep.stores.files import FileStore
from tests.cli.commands import running, script, wait_until_recorded
from tests.cli.conftest import Caller
from tests.cli.records import begun

SCRIPT = """\
import sys
from pathlib import Path
from time import sleep
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline

BROKEN = True

def noted(text):
    with Path("notes").open("a") as notes:
        notes.write(f"{text}\\n")

class Training(Experiment):
    turns: int = 45
    word: str = "plain"
    seen: int = 0

    def pipeline(self):
        steps = (
            Pipeline()
            .loop_while(lambda n: n < self.turns)
            .stage("stage", self.train)
            .through(n=int)
            .end_loop()
        )
        return (
            Pipeline()
            .through(n=int)
            .stage("load", self.load)
            .through(n=int)
            .stage("loop", steps)
            .stage("tell", self.tell)
        )

    def load(self, n):
        noted("load")
        return {"n": n}

    def train(self, n):
        noted(f"train {n}")
        self.seen += 1
        if n == 39 and BROKEN:
            raise ValueError(f"no luck at {n}")
        return {"n": n + 1}

    def tell(self, n):
        noted(f"tell {self.seen}")
        return f"{self.word} {n} {sys.argv[1:]}"

def left(x: int):
    noted("left")
    return x + 1

def right(x: int):
    noted("right")
    return x + 2

def both(left: int, right: int):
    noted("both")
    return left + right

sides = Pipeline().through(x=int).parallel({"left": left, "right": right}).stage("both", both)

def wait(x: int):
    while not Path("gate").exists():
        sleep(0.02)
    return x

waiting = Pipeline().stage("wait", wait).stage("rest", lambda x: x + 1)

def objective(params):
    noted("trial")
    return {"accuracy": params["x"]}

search = SweepExperiment(
    objective,
    {"x": Uniform(0, 1)},
    metric="accuracy",
    seed=1,
    budget=2,
    executor=LocalExecutor(max_parallel=1),
)

class Inner(Experiment):
    def pipeline(self):
        return Pipeline().stage("inside", self.inside)

    def inside(self, x: int):
        noted(f"inside {x}")
        return x * 10

outer = (
    Pipeline()
    .stage("first", lambda x: x + (not BROKEN))
    .stage("inner", Inner())
    .stage("search", search)
    .stage("best", lambda results: len(results.trials))
)
"""


@pytest.fixture
def mine(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a script, on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    return project


@pytest.fixture
def failed(mine: Path, call: Caller) -> str:
    """Name of an experiment whose 40th turn has failed; all tests share the server."""
    name = f"failed-{uuid4().hex[:6]}"
    done = call("run", "mine.py:Training", "--name", name, "--input", '{"n": 0}', "--", "an", "argument")
    assert done.returncode == 1, done.stderr
    assert "stage loop/stage[39] failed: ValueError: no luck at 39" in done.stderr
    assert done.stdout.startswith(f"next: sweep retry {name}")
    return name


def mend(project: Path, before: str = "BROKEN = True", now: str = "BROKEN = False") -> None:
    file = project / "mine.py"
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, now), "utf-8")


def notes(project: Path) -> Counter[str]:
    return Counter((project / "notes").read_text("utf-8").splitlines())


def beginnings(project: Path, name: str) -> list[Began]:
    log = FileStore(project / ".metta-sweep").outcome_log(name)
    return [entry for entry in log.entries() if isinstance(entry, Began)]


def sweep(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which has imported none of the script."""
    command = [str(Path(sys.executable).with_name("sweep")), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def test_a_mended_stage_goes_on_in_the_turn_in_which_it_failed(
    mine: Path, failed: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debugged = sweep(
        "replay", failed, "--stage", "loop/stage[39]", "--pdb", given="p n * 100 + self.seen\nq\n"
    )
    assert debugged.returncode == 1, debugged.stderr
    assert "3940" in debugged.stdout
    (mine / "notes").write_text(
        "".join(f"{line}\n" for line in (mine / "notes").read_text("utf-8").splitlines()[:-1]), "utf-8"
    )
    mend(mine)
    (mine / "below").mkdir()
    monkeypatch.chdir(mine / "below")  # the script is found where it was
    done = call("retry", failed)
    assert (done.returncode, done.stdout) == (0, "\"plain 45 ['an', 'argument']\"\n"), done.stderr
    assert "\nloop/stage[39]  done  " in done.stderr
    turns = {f"train {n}": 1 for n in range(45)}
    assert notes(mine) == {"load": 1, **turns, "train 39": 2, "tell 45": 1}
    first, second = beginnings(mine, failed)
    assert (second.fields, second.input, second.forgotten) == (first.fields, first.input, {})


def test_another_structure_is_refused_with_the_difference_and_nothing_is_started(
    mine: Path, failed: str, call: Caller
) -> None:
    before = notes(mine)
    mend(mine, '.stage("stage", self.train)\n            .through(n=int)', '.stage("other", self.train)')
    for arguments in ((), ("--from-stage", "load")):
        done = call("retry", failed, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"error: 2 mistakes in the experiment {failed}:\n- its pipeline was changed:\n" in done.stderr
        assert "\n    -    stage -> (n: int)\n    +    other\n" in done.stderr
    assert notes(mine) == before
    assert len(beginnings(mine, failed)) == 1
    assert call.json("show", failed)["reason"].startswith("stage loop/stage[39] failed")


def test_a_recorded_field_that_its_class_has_no_more_is_told_as_that(
    mine: Path, failed: str, call: Caller
) -> None:
    mend(mine, '    word: str = "plain"\n', "")
    problem = (
        "word is a recorded field of this run, and no field of its class any more: give it back, or run the"
        " experiment under another name"
    )
    for arguments in (("retry", failed), ("replay", failed, "--stage", "load")):
        done = call(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: Training: {problem}\n"
    assert len(beginnings(mine, failed)) == 1


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("lod", "there is no stage lod; did you mean load?"),
        ("stage", "there is no stage stage; did you mean loop/stage?"),
        ("tell", "tell was not reached: without a stage, a retry goes on where it has come to"),
        (
            "loop/stage[40]",
            "loop/stage[40] was not reached; it was run as loop/stage[35], loop/stage[36], loop/stage[37],"
            " loop/stage[38], loop/stage[39]",
        ),
        ("loop/stage[1,2]", "loop/stage has a turn for each of the loops around it, 1, got loop/stage[1,2]"),
        ("load[0]", "load has a turn for each of the loops around it, 0, got load[0]"),
    ],
)
def test_a_stage_from_which_nothing_can_be_run_is_told(
    mine: Path, failed: str, call: Caller, stage: str, problem: str
) -> None:
    done = call("retry", failed, "--from-stage", stage)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: the experiment {failed}: {problem}\n"
    assert len(beginnings(mine, failed)) == 1


def test_from_a_stage_on_all_is_run_again_and_what_shows_the_log_agrees(
    mine: Path, failed: str, call: Caller
) -> None:
    mend(mine)
    call.printed("retry", failed)
    over = call("retry", failed)
    assert (over.returncode, over.stderr) == (
        2,
        f"error: the experiment {failed}: it has completed;"
        " say from which stage it is to be run again: --from-stage STAGE\n",
    )
    (mine / "notes").unlink()
    call.printed("retry", failed, "--from-stage", "loop/stage[43]")
    assert notes(mine) == {"train 43": 1, "train 44": 1, "tell 45": 1}
    (mine / "notes").unlink()
    call.printed("retry", failed, "--from-stage", "loop/stage")  # its last turn
    assert notes(mine) == {"train 44": 1, "tell 45": 1}
    rows = call.json("show", failed)["rows"]
    stages = [row["stage"] for row in rows]
    assert stages == ["@through", "load", *(f"loop/stage[{n}]" for n in range(45)), "tell"]
    assert call.printed("show", failed).splitlines()[1].startswith("48 stages in ")
    (mine / "notes").unlink()
    call.printed("retry", failed, "--from-stage", "loop")  # a pipeline counts as one stage
    assert notes(mine) == {**{f"train {n}": 1 for n in range(45)}, "tell 45": 1}
    assert call.json("replay", failed)["histories"]


def test_branches_beside_a_stage_are_kept_and_their_merge_is_not(mine: Path, call: Caller) -> None:
    assert call.printed("run", "mine.py:sides", "--name", "sides", "--input", '{"x": 1}') == "5\n"
    mend(mine, "return x + 1", "return x + 10")
    (mine / "notes").unlink()
    assert call.printed("retry", "sides", "--from-stage", "@parallel/left") == "14\n"
    assert notes(mine) == {"left": 1, "both": 1}


def test_a_stage_with_a_workflow_of_its_own_is_begun_anew_with_what_flows_now(
    mine: Path, call: Caller
) -> None:
    assert call.printed("run", "mine.py:outer", "--name", "outer", "--input", "1") == "2\n"
    assert notes(mine) == {"inside 1": 1, "trial": 2}
    call.printed("retry", "outer", "--from-stage", "best")
    assert notes(mine) == {"inside 1": 1, "trial": 2}
    mend(mine)
    assert call.printed("retry", "outer", "--from-stage", "first") == "2\n"
    assert notes(mine) == {"inside 1": 1, "inside 2": 1, "trial": 4}
    assert FileStore(mine / ".metta-sweep").ledger("outer/search~1").exists()
    child = call("retry", "outer/inner")
    assert (child.returncode, child.stderr) == (
        2,
        "error: the experiment outer/inner: it is run by outer: retry that, with `sweep retry outer`\n",
    )


def test_what_runs_or_is_paused_is_not_retried(mine: Path, call: Caller) -> None:
    with running("run", "mine.py:waiting", "--name", "waits", "--input", "1"):
        wait_until_recorded(mine / ".metta-sweep/experiments/waits/outcomes.jsonl", '"began"')
    for command, problem in (
        ("resume", "it is running, and can be retried when it is over: `sweep stop waits` ends it"),
        ("pause", "it is paused: `sweep resume waits` lets it go on, `sweep stop waits` ends it"),
        ("stop", "it is stopping, and can be retried when it is over: `sweep stop waits` ends it"),
    ):
        call.printed(command, "waits")
        for arguments in ((), ("--from-stage", "wait")):
            done = call("retry", "waits", *arguments)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr == f"error: the experiment waits: {problem}\n"
    (mine / "gate").touch()
    stopped = call("attach", "waits")
    assert (stopped.returncode, stopped.stdout) == (1, "next: sweep retry waits\n")
    assert call.printed("retry", "waits") == "2\n"


def test_a_name_that_nobody_knows_is_told(mine: Path, call: Caller) -> None:
    call.printed("run", "mine.py:sides", "--name", "known", "--input", '{"x": 1}')
    unknown = call("retry", "knwn")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: there is no sweep or experiment 'knwn' here; did you mean known?\n",
    )


def test_an_empty_stage_is_no_stage(failed: str, call: Caller) -> None:
    done = call("retry", failed, "--from-stage", "")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: the experiment {failed}: from_stage has to name a stage, got ''\n"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("s/trial-3/experiment", "it is a trial of the sweep s, which tries it again when that goes on"),
        ("a/b/trial-3/experiment", "it is a trial of the sweep a/b, which tries it again when that goes on"),
        ("outer/inner@2/deep", "it is run by outer: retry that, with `sweep retry outer`"),
    ],
)
def test_a_part_of_something_else_is_not_retried_alone(
    project: Path, call: Caller, name: str, problem: str
) -> None:
    begun(project, name)
    for arguments in ((), ("--from-stage", "load")):
        done = call("retry", name, *arguments)
        assert (done.returncode, done.stderr) == (2, f"error: the experiment {name}: {problem}\n")


def test_a_sweep_that_failed_goes_on_and_one_that_has_ended_does_not(mine: Path, call: Caller) -> None:
    script(mine, "broken")
    assert call("run", "mine.py", "--name", "searched").returncode == 1
    stages = call("retry", "searched", "--from-stage", "load")
    assert (stages.returncode, stages.stderr) == (
        2,
        "error: the sweep searched: a sweep has no stages, got 'load'\n",
    )
    again = call("retry", "searched")
    assert again.returncode == 1
    assert "all of the 3 finished trials failed" in again.stderr
    assert again.stdout == "next: sweep retry searched\n"
    mend(mine, 'raise ValueError("no luck today")', 'return {"accuracy": 1}')
    shown = call.json("show", "searched")
    assert (shown["state"], shown["progress"]["counts"]["failed"]) == ("failed", 3)
    call.printed("retry", "searched", "--budget", "4")
    ended = call("retry", "searched")
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: the sweep searched: it has come to its end (budget); with a larger budget it may go on:"
        " --budget N\n"
    )
    call.printed("retry", "searched", "--budget", "5")
    assert call.json("show", "searched")["progress"]["counts"]["started"] == 5


def test_a_sweep_that_was_stopped_goes_on_with_its_budget(mine: Path, call: Caller) -> None:
    script(mine, "slow")
    with running("run", "mine.py", "--name", "slow"):
        wait_until_recorded(mine / ".metta-sweep/sweeps/slow/ledger.jsonl", '"reported"')
        assert call("retry", "slow").stderr.startswith("error: the sweep slow: it is running, and can be ")
        call.printed("stop", "slow")
        call("attach", "slow")
    assert call.printed("retry", "slow").startswith("slow is finished: its budget is used up\n")
    assert call.json("show", "slow")["progress"]["counts"]["started"] == 3


def test_a_script_that_is_gone_or_broken_is_told_before_anything_is_started(
    mine: Path, failed: str, call: Caller
) -> None:
    mend(mine, "BROKEN = True", "print('hello')\nraise OSError('no disk')")
    broken = call("retry", failed)
    assert broken.returncode == 2
    assert "OSError: no disk" in broken.stderr
    mend(mine, "raise OSError('no disk')", "import os; os._exit(7)")
    crashed = call("retry", failed)
    assert crashed.returncode == 2
    assert "the process that imports it has ended with 7:\nhello" in crashed.stderr
    shutil.move(mine / "mine.py", mine / "other.py")
    gone = call("retry", failed)
    assert gone.returncode == 2
    assert "mine.py" in gone.stderr
    assert len(beginnings(mine, failed)) == 1
