"""What commands print for machines has a shape, each of them, whether they succeed or fail."""

from pathlib import Path
from uuid import uuid4

import pytest
from typer.main import get_command

import metta.sweep.cli.main  # noqa: F401 - adds the commands
from metta.sweep.cli.app import app
from metta.sweep.cli.schemas import SHAPES
from metta.sweep.client.settings import Settings
from tests.cli.conftest import Caller
from tests.cli.records import begun, damaged, recorded

SCRIPT = """\
from shaped_lab import train
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline

print("defining")

def fail(x: int):
    raise ValueError("no luck today")

one = LocalExecutor(max_parallel=1)
sweep = SweepExperiment(train, {"x": Uniform(0, 1)}, metric="accuracy", budget=1, executor=one)
broken = SweepExperiment(fail, {"x": Uniform(0, 1)}, metric="accuracy", budget=1, executor=one)
failing = Pipeline().stage("fail", fail)
"""

COMMANDS = vars(get_command(app))["commands"]


@pytest.fixture
def mine(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a script, on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "shaped_lab.py").write_text(
        "def train(params):\n    return {'accuracy': params['x']}\n", "utf-8"
    )
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    return project


def test_every_command_that_prints_json_says_how() -> None:
    printing = [name for name, c in COMMANDS.items() if any("--json" in p.opts for p in c.params)]
    assert sorted(printing) == sorted(SHAPES)
    assert sorted(COMMANDS) == sorted(printing)


@pytest.mark.usefixtures("mine")
def test_what_is_started_is_told_with_what_should_be_known_of_it(call: Caller) -> None:
    sweep, experiment = (f"started-{uuid4().hex[:6]}" for _ in range(2))
    told = call.json("start", "mine.py:sweep", "--name", sweep, "--queue", "nobodys")
    assert (told["name"], told["kind"]) == (sweep, "sweep")
    note = "nobody serves the queue nobodys by now: `sweep worker MODULES --queue nobodys` does"
    assert note in told["notes"]
    told = call.json("start", "mine.py:failing", "--name", experiment, "--input", "1")
    assert (told["name"], told["kind"], told["notes"]) == (experiment, "experiment", [])


def test_who_watches_gets_a_line_for_each(project: Path, call: Caller) -> None:
    recorded(project)
    recorded(project, "others")
    lines = call.lines("watch", "digits", "others")
    assert {line["sweep"]: line["state"] for line in lines} == {"digits": "finished", "others": "finished"}


@pytest.mark.parametrize("command", SHAPES)
def test_of_wrong_usage_nothing_is_printed_for_machines(project: Path, call: Caller, command: str) -> None:
    needed = ["x" for param in COMMANDS[command].params if param.required]
    printed, said = call.failed(2, command, *needed, "--nothing-like-it")
    assert printed == []
    assert said.startswith("error: No such option: --nothing-like-it")


@pytest.mark.parametrize(
    "command",
    [
        "attach digit",
        "retry digit",
        "show digit",
        "show digit --tree",
        "watch digit",
        "trials digit",
        "trials digit 1",
        "logs digit 1",
        "diff digits digit",
        "export digit -o digit.csv",
        "budget digit 9",
        "concurrency digit 2",
        "pause digit",
        "resume digit",
        "stop digit",
        "gc digit",
    ],
)
def test_of_an_unknown_name_nothing_is_printed_for_machines(
    project: Path, call: Caller, command: str
) -> None:
    recorded(project)
    printed, said = call.failed(1, *command.split())
    assert printed == []
    assert said == "error: there is no sweep or experiment 'digit' here; did you mean digits?\n"


@pytest.mark.parametrize("command", ["run", "start"])
@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        ("print('defining')\n", 2, "error: mine.py: it neither runs nor defines an experiment"),
        ("print('defining')\n1 / 0\n", 1, "Traceback (most recent call last):"),
        ("print('defining')\nraise SystemExit(3)\n", 3, ""),
    ],
    ids=["nothing", "error", "end"],
)
def test_of_a_script_that_comes_to_nothing_nothing_is_printed_for_machines(
    project: Path, call: Caller, command: str, text: str, code: int, problem: str
) -> None:
    (project / "mine.py").write_text(text, "utf-8")
    printed, said = call.failed(code, command, "mine.py")
    assert printed == []
    assert said.startswith(f"defining\n{problem}")


@pytest.mark.parametrize(("kind", "field"), [("broken", "sweep"), ("failing", "experiment")])
@pytest.mark.usefixtures("mine")
def test_what_fails_is_told_as_where_it_stands(call: Caller, kind: str, field: str) -> None:
    name = f"failed-{uuid4().hex[:6]}"
    more = ["--input", "1"] if kind == "failing" else []
    for command in (["run", f"mine.py:{kind}", "--name", name, *more], ["attach", name], ["retry", name]):
        [told], said = call.failed(1, *command)
        assert (told[field], told["state"]) == (name, "failed")
        assert "error: " in said
        assert "no luck today" in told["reason"] + told.get("notice", "")


@pytest.mark.usefixtures("mine")
def test_a_stage_that_fails_again_is_told_with_its_failure(call: Caller) -> None:
    name = f"failed-{uuid4().hex[:6]}"
    call.failed(1, "run", "mine.py:failing", "--name", name, "--input", "1")
    [told], said = call.failed(1, "replay", name, "--stage", "fail")
    assert (told["stage"], told["failure"]["message"]) == ("fail", "ValueError: no luck today")
    assert said.endswith("ValueError: no luck today\n")


def test_what_is_damaged_is_told_beside_what_is_not(project: Path, call: Caller) -> None:
    recorded(project)
    begun(project)
    files = damaged(project)
    [listed], said = call.failed(1, "ls")
    assert {row.get("sweep") or row["experiment"] for row in listed} == {"digits", "talk"}
    for file in files.values():
        assert f"error: {file}, line 1 (byte 0) is damaged" in said
    [collected], said = call.failed(1, "gc")
    assert len(collected["problems"]) == said.count("error: ") == 2
    lines, said = call.failed(1, "watch", "digits", "hurt")
    assert [line["sweep"] for line in lines] == ["digits"]
    assert said.startswith(f"note: {files['hurt']}, line 1 (byte 0) is damaged")
    [findings], _ = call.failed(1, "doctor")
    assert {"hurt", "torn"} <= {finding["subject"] for finding in findings if finding["severity"] != "note"}
