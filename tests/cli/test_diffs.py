"""What differs between two experiments, or two sweeps, as it is printed."""

from pathlib import Path

import pytest

from metta.sweep.client.comparisons import ExperimentComparison
from metta.sweep.client.experiments import Experiments
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.stores.files import FileStore
from tests.cli.commands import script
from tests.cli.conftest import Caller
from tests.cli.records import recorded

SCRIPT = """\
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

class Adding(Experiment):
    step: int = 1
    total: int = 0

    def pipeline(self):
        return (
            Pipeline()
            .stage("load", lambda x: x)
            .stage("add", self.add)
            .through(int, metrics=lambda x: {"size": x})
            .stage("tell", self.tell)
        )

    def add(self, x: int) -> int:
        self.total += x + self.step
        return self.total

    def tell(self, x: int):
        if x > 10:
            raise ValueError("too large")
        return x
"""


@pytest.fixture
def adding(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a script, on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "adding.py").write_text(SCRIPT, "utf-8")
    return project


def run(call: Caller, name: str, step: int, code: int = 0) -> None:
    done = call("run", "adding.py:Adding", "--name", name, "--input", "1", "--set", f"step={step}")
    assert done.returncode == code, done.stderr


def test_two_experiments_are_compared_without_a_server(
    adding: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(call, "small", 1)
    run(call, "large", 20, code=1)
    text = (adding / "adding.py").read_text("utf-8")
    (adding / "adding.py").write_text(text.replace("x + self.step", "self.step + x"), "utf-8")
    run(call, "same", 1)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    lines = [line.split() for line in call.printed("diff", "small", "large").splitlines()]
    assert lines[0] == ["small", "large"]
    assert ["end", "completed", "failed"] in lines
    assert ["step", "1", "20"] in lines
    assert ["total,", "at", "the", "end", "2", "21"] in lines
    assert "why -" in " ".join(lines[2])
    table = lines[lines.index([]) :]
    assert table[1:3] == [
        ["input:", "the", "same;", "result:", "not", "known"],
        ["the", "pipelines", "are", "the", "same"],
    ]
    title, load, add, tell = table[4:8]
    assert title == ["stage", "status", "input", "data", "code", "fields", "time", "attempts", "size"]
    assert load[:6] == ["load", "done", "same", "same", "same", "same"]
    assert add[:6] == ["add", "done", "same", "other", "same", "other"]
    assert add[-3:] == ["2", "→", "21"]
    assert tell[:8] == ["tell", "done", "→", "failed", "other", "-", "same", "-"]
    assert table[8] == ["next:", "sweep", "show", "large"]

    found = call.json("diff", "small", "same")
    codes = {stage["stage"]: (stage["code"], stage["data"]) for stage in found["stages"]}
    assert codes == {"load": ("same", "same"), "add": ("other", "same"), "tell": ("same", "same")}
    assert (found["input"], found["result"], found["fields"]) == ("same", "same", {})


def test_whether_the_code_of_a_failed_stage_is_another_one_now(adding: Path, call: Caller) -> None:
    run(call, "failed", 20, code=1)
    text = (adding / "adding.py").read_text("utf-8")
    (adding / "adding.py").write_text(text.replace("x > 10", "x > 100"), "utf-8")
    run(call, "mended", 20)
    *_, tell = call.json("diff", "failed", "mended")["stages"]
    assert [side["status"] for side in tell["sides"]] == ["failed", "done"]
    assert (tell["code"], tell["input"], tell["data"]) == ("other", "same", "unknown")


def test_another_pipeline_is_shown_line_by_line(adding: Path, call: Caller) -> None:
    run(call, "before", 1)
    text = (adding / "adding.py").read_text("utf-8")
    (adding / "adding.py").write_text(text.replace('.stage("load"', '.stage("read"'), "utf-8")
    run(call, "after", 1)
    printed = call.printed("diff", "before", "after")
    assert "the pipelines differ:\n  -load\n  +read\n" in printed
    assert "\nload   done → -" in printed
    assert "\nread   - → done" in printed
    compared = Experiments().diff("before", "after")
    assert isinstance(compared, ExperimentComparison)
    assert compared.structure == ("-load", "+read")


def test_two_sweeps_are_compared(adding: Path, call: Caller) -> None:
    script(adding)
    call.printed("run", "mine.py", "--name", "three")
    text = (adding / "mine.py").read_text("utf-8")
    (adding / "mine.py").write_text(text.replace("Uniform(0, 1)", "Uniform(0, 2)"), "utf-8")
    call.printed("run", "mine.py", "--name", "four", "--budget", "4")
    lines = call.printed("diff", "three", "four").splitlines()
    cells = [line.split() for line in lines]
    assert ["budget", "trials=3", "trials=4"] in cells
    assert ["trials", "3", "4"] in cells
    assert "search_space.parameters.x.high was 1 and is now 2" in lines
    found = call.json("diff", "three", "four")
    assert [side["budget"]["trials"] for side in found["sides"]] == [3, 4]
    assert found["sides"][1]["best"]["value"] > 1
    run(call, "experiment", 1)
    mixed = call("diff", "experiment", "four")
    assert (mixed.returncode, mixed.stderr) == (
        2,
        "error: the comparison: four is a sweep, and experiment an experiment: give two of one kind\n",
    )


@pytest.mark.parametrize(
    ("names", "code", "message"),
    [
        (("nobody", "other"), 1, "error: there is no sweep or experiment 'nobody' here\n"),
        (("one",), 2, "error: Missing argument 'OTHER'; see sweep diff --help\n"),
    ],
)
def test_names_that_are_missing_are_told(
    project: Path, call: Caller, names: tuple[str, ...], code: int, message: str
) -> None:
    done = call("diff", *names)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


@pytest.mark.parametrize("names", [("young", "digits"), ("digits", "young")])
def test_a_sweep_of_which_only_its_name_is_recorded_is_not_compared(
    project: Path, call: Caller, names: tuple[str, str]
) -> None:
    recorded(project)
    ledger = FileStore(project / ".metta-sweep").ledger("young")
    ledger.commit(Chunk(n=0, writer="w", epoch=1))
    done = call("diff", *names)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the sweep young: nothing is recorded of its definition yet\n"
