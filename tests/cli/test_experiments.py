"""The command with experiments: fields and inputs, and what it shows of stages."""

from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings
from tests.cli.commands import ended, interrupt, running, wait_until_recorded
from tests.cli.conftest import Caller, shapes

SCRIPT = """\
from pathlib import Path
from time import sleep
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

class Refine(Experiment):
    threshold: float = 0.9
    label: str = "plain"

    def pipeline(self):
        return Pipeline().stage("begin", self.begin).stage("end", self.end).through(log=lambda x: 1 / 0)

    def begin(self, x: float):
        print("beginning")
        return x + self.threshold

    def end(self, x: float):
        return {"label": self.label, "x": x}

def wait(x: int):
    while not Path("gate").exists():
        sleep(0.02)
    return x

def fail(x: int):
    raise ValueError("no luck today")

pipeline = Pipeline().stage("wait", wait).stage("rest", lambda x: x + 1)
failing = Pipeline().stage("fail", fail)

if __name__ == "__main__":
    Refine(threshold=0.5).run(1.0, name="refine")
"""


@pytest.fixture
def refine(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a script, on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "refine.py").write_text(SCRIPT, "utf-8")
    return project


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ((), "{'label': 'plain', 'x': 1.5}"),
        (("--set", "threshold=2"), "{'label': 'plain', 'x': 3.0}"),
        (("--set", "label=2 a", "--input", "3"), "{'label': '2 a', 'x': 3.5}"),
        ((":Refine", "--input", "1"), "{'label': 'plain', 'x': 1.9}"),
        (
            (":Refine", "--set", "threshold=1e3", "--input", "1", "--set", 'label="x"'),
            "{'label': 'x', 'x': 1001.0}",
        ),
    ],
)
def test_fields_and_input_are_set_on_the_command_line(
    refine: Path, call: Caller, arguments: tuple[str, ...], printed: str
) -> None:
    name = arguments[0] if arguments and arguments[0].startswith(":") else ""
    rest = arguments[1:] if name else arguments
    done = call("run", f"refine.py{name}", *rest, "--debug")
    assert (done.returncode, done.stdout) == (0, f"beginning\n{printed}\n"), done.stderr
    as_json = call("run", f"refine.py{name}", *rest, "--debug", "--json")
    assert [line["value"]["packed"] for line in shapes("run", as_json.stdout)] == [eval(printed)]
    assert as_json.stderr == "beginning\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("refine.py", "--set", "treshold=1", "--set", "label=3"),
            "error: 2 mistakes in Refine:\n- treshold is unknown; did you mean threshold?\n"
            "- label: input should be a valid string, got 3",
        ),
        (("refine.py", "--set", "threshold"), "error: --set: write NAME=VALUE, got 'threshold'"),
        (
            ("refine.py:pipeline", "--set", "x=1", "--set", "y=2"),
            "error: --set: x, y cannot be set: only an Experiment has fields, and it is a Pipeline",
        ),
        (("refine.py", "--input", "{"), "error: --input: it has to be JSON, got '{': "),
        (("refine.py", "--input", '"a"'), "error: the input: it does not fit float: "),
        (("sweep.py", "--input", "1"), "error: the arguments: --input is given, but a sweep has no input"),
        (("sweep.py", "--set", "x=1"), "error: --set: x cannot be set: only an Experiment has fields"),
        (
            ("refine.py:Refin",),
            "error: the script: refine.py has no experiment called 'Refin'; did you mean Refine?",
        ),
        (
            ("many.py",),
            "error: many.py: it runs none of its experiments; say which: many.py:One or many.py:two or",
        ),
    ],
)
def test_wrong_usage_starts_nothing(
    project: Path, call: Caller, arguments: tuple[str, ...], message: str
) -> None:
    (project / "refine.py").write_text(SCRIPT, "utf-8")
    (project / "sweep.py").write_text(
        "from metta.sweep import Uniform\n"
        "from metta.sweep.experiments import SweepExperiment\n"
        "SweepExperiment(lambda params: {'a': 1.0}, {'x': Uniform(0, 1)}).run(1)\n"
    )
    (project / "many.py").write_text(
        "from refine import Refine\n"
        "from metta.sweep.experiments.base import Pipeline\n"
        "class One(Refine): pass\n"
        "two, three = One(), Pipeline()\n"
    )
    done = call("run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert not (project / ".metta-sweep").exists()


def test_an_experiment_that_a_script_only_defines_is_run(project: Path, call: Caller) -> None:
    script = SCRIPT.partition("def wait")[0]
    (project / "only.py").write_text(script, "utf-8")
    assert call.printed("run", "only.py", "--debug", "--input", "1").endswith("'x': 1.9}\n")


def test_an_experiment_from_beginning_to_end(refine: Path, call: Caller) -> None:
    done = call("run", "refine.py", "--set", "label=mine")
    assert (done.returncode, done.stdout) == (0, "{'label': 'mine', 'x': 1.5}\n"), done.stderr
    assert "\nend  done  " in done.stderr
    assert "  its log hook failed\n" in done.stderr
    assert done.stderr.endswith("next: sweep show refine\n")
    assert call.printed("attach", "refine") == done.stdout
    assert call.json("attach", "refine")["value"] == {
        "packed": {"label": "mine", "x": 1.5},
        "kept": None,
        "fields": None,
    }

    first, counts, _, title, begin, end, following = call.printed("show", "refine").splitlines()
    assert (first, following) == ("refine is finished", "next: sweep attach refine")
    assert counts.startswith("2 stages in ")
    assert title.split() == ["stage", "status", "time", "attempts", "notes"]
    assert (begin.split()[:2], end.split()[:2]) == (["begin", "done"], ["end", "done"])
    assert end.endswith("its log hook failed")
    shown = call.json("show", "refine")
    assert (shown["experiment"], shown["state"], shown["ended"]) == ("refine", "finished", 2)
    assert [row["stage"] for row in shown["rows"]] == ["begin", "end"]
    assert call.printed("ls").splitlines()[1].split() == ["refine", "finished", "2"]
    assert [row["experiment"] for row in call.json("ls")] == ["refine"]

    taken = call("run", "refine.py")
    assert (taken.returncode, taken.stdout) == (2, "")
    assert "continue that experiment with resume=True (`--resume`)" in taken.stderr
    for command in (("concurrency", "refine", "2"), ("pause", "refine", "--now")):
        refused = call(*command)
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: refine: it is an experiment; only sweeps have trials")
    for late in ("budget refine 3", "stop refine"):
        over = call(*late.split())
        assert (over.returncode, over.stderr) == (
            1,
            "error: refine is over; run it again with resume=True (`--resume`)\n",
        )


def test_one_that_failed_says_why_and_how_to_go_on(refine: Path, call: Caller) -> None:
    done = call("run", "refine.py:failing", "--name", "bad", "--input", "1")
    assert done.returncode == 1
    assert "\nfail  failed  ValueError: no luck today\n" in done.stderr
    assert "\nerror: stage fail failed: ValueError: no luck today\n" in done.stderr
    assert done.stdout == "next: sweep retry bad\n"
    shown = call.printed("show", "bad").splitlines()
    assert shown[0] == "bad has failed"
    assert shown[2] == "stage fail failed: ValueError: no luck today"
    assert shown[-2].split()[:2] == ["fail", "failed"]


def test_a_running_one_is_detached_from_paused_and_stopped(refine: Path, call: Caller) -> None:
    log = refine / ".metta-sweep/experiments/waits/outcomes.jsonl"
    with running("run", "refine.py:pipeline", "--name", "waits", "--input", "1") as run:
        wait_until_recorded(log, '"began"')
        interrupt(run)
        done = ended(run)
    assert done.returncode == 130
    assert "detached: waits goes on without this program" in done.stderr
    assert call.printed("pause", "waits").splitlines() == [
        "waits is paused; running stages come to their end",
        "next: sweep resume waits",
    ]
    assert call.printed("show", "waits").splitlines()[0] == "waits is paused"
    resumed = call.json("resume", "waits")
    assert (resumed["experiment"], resumed["pause"], resumed["stop"]) == ("waits", False, False)
    assert set(resumed["budget"].values()) == {None}
    assert call.printed("stop", "waits").startswith(
        "waits is being stopped; running stages come to their end\n"
    )
    (refine / "gate").touch()
    attached = call("attach", "waits")
    assert (attached.returncode, attached.stdout) == (1, "next: sweep retry waits\n")
    assert "error: waits was stopped before its end" in attached.stderr
    assert call.printed("show", "waits").startswith("waits is finished: it was stopped\n")
    assert call.printed("show", "waits", "--tree").startswith("waits  finished (stopped)  1 stage\n")
    assert call.printed("run", "refine.py:pipeline", "--name", "waits", "--resume") == "2\n"
