"""What a Temporal server does not take, does not allow, or has ended by itself, as commands tell it."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from metta.sweep.client import runs
from metta.sweep.client.settings import Settings
from metta.sweep.worker import replaying
from tests.cli.commands import wait_until_recorded
from tests.cli.conftest import Caller
from tests.rig import TEMPORAL

LAB = """\
from pathlib import Path
from time import sleep

from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline


def train(params):
    return {"accuracy": params["x"]}


def wait(x: int):
    while not Path("gate").exists():
        sleep(0.02)
    return x


def gated(params):
    return {"accuracy": wait(params["x"])}


waiting = Pipeline().stage("wait", wait)
search = SweepExperiment(gated, {"x": Uniform(0, 1)}, metric="accuracy", budget=1)
searching = Pipeline().stage("search", search)
"""

SCRIPT = """\
from refused_lab import train
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

SweepExperiment(train, {{"x": Uniform(0, 1)}}, name="{name}").run(budget=1)
"""

TIMEOUT = timedelta(microseconds=1)
"""Nobody answers within it."""


@pytest.fixture
def name(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a sweep whose script is there, on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    name = f"refused-{uuid4().hex[:6]}"
    (project / "refused_lab.py").write_text(LAB, "utf-8")
    (project / "mine.py").write_text(SCRIPT.format(name=name), "utf-8")
    return name


@pytest.fixture
def queued(name: str, call: Caller) -> str:
    """The same, started on a queue that nobody serves."""
    call.printed("start", "mine.py", "--queue", "gpus")
    return name


def temporal(server: Settings, *arguments: str, namespace: str = "metta-sweep") -> None:
    where = ["--address", str(server.connect["target_host"]), "--namespace", namespace]
    subprocess.run([TEMPORAL, *arguments, *where], capture_output=True, check=True)


def test_a_queue_that_the_server_does_not_take_is_told(name: str, call: Caller) -> None:
    done = call("start", "mine.py", "--queue", "q" * 2000)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the Temporal server does not start {name}: taskQueue length exceeds limit\n"
    )
    assert name not in [row.get("sweep") for row in call.json("ls")]


@pytest.mark.parametrize("command", ["show", "attach", "watch"])
def test_a_server_that_is_too_slow_is_told(
    queued: str, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(runs, "RPC_TIMEOUT", TIMEOUT)
    done = call(command, queued)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: the Temporal server does not answer as it should: it takes too long\n"


@pytest.mark.parametrize(
    ("command", "call_of_the_engine"),
    [
        ("pause {}", "execute_update"),
        ("budget {} 9", "execute_update"),
        ("stop {}", "execute_update"),
        ("show {}", "describe"),
        ("attach {}", "result"),
    ],
)
def test_what_the_server_does_not_allow_is_told(
    queued: str, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str, call_of_the_engine: str
) -> None:
    """As servers with users and rights do it, which the one here has not."""

    async def refused(*_: Any, **__: Any) -> None:
        raise RPCError("Request unauthorized.", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(WorkflowHandle, call_of_the_engine, refused)
    done = call(*command.format(queued).split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "error: the Temporal server does not answer as it should: Request unauthorized.\n"
    )


def test_histories_that_the_server_does_not_tell_in_time_are_told(
    queued: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "RPC_TIMEOUT", TIMEOUT)
    done = call("replay", queued)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the Temporal server does not tell the histories of {queued}: it takes too long\n"
    )


@pytest.mark.parametrize("unknown", ["it's", "a\\", 'a"', "a%", "a b", "\u00fc"])
@pytest.mark.usefixtures("name")
def test_a_name_that_a_query_has_to_quote_is_unknown_like_any_other(call: Caller, unknown: str) -> None:
    done = call("replay", unknown)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: there is no sweep or experiment {unknown!r} here\n"


def test_what_somebody_has_ended_by_force_is_told_with_how_it_goes_on(
    queued: str, server: Settings, call: Caller
) -> None:
    temporal(server, "workflow", "terminate", "--workflow-id", queued)
    attached = call("attach", queued)
    assert attached.returncode == 1
    assert attached.stderr.endswith(
        f"error: {queued} was cancelled; run it again with resume=True (`--resume`) to go on\n"
    )
    assert attached.stdout == f"next: sweep run FILE --name {queued} --resume\n"
    for command in ("pause", "stop"):
        done = call(command, queued)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"error: {queued} is over; run it again with resume=True (`--resume`) and a larger budget\n"
        )
    retried = call("retry", queued)
    assert (retried.returncode, retried.stdout) == (2, "")
    assert retried.stderr == (
        f"error: the sweep {queued}: nothing is recorded of it: it was over before it began, so run it again"
        " instead\n"
    )


def test_what_is_being_stopped_takes_no_changes(project: Path, name: str, call: Caller) -> None:
    call.printed("start", "refused_lab.py:waiting", "--name", name, "--input", "1")
    call.printed("stop", name)
    refused = call("pause", name)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"error: {name}: the experiment is being stopped; run it again with resume=True (`--resume`)\n"
    )
    (project / "gate").touch()
    assert call("attach", name).returncode == 1


def test_a_share_of_a_budget_is_not_changed(project: Path, name: str, call: Caller) -> None:
    call.printed("start", "refused_lab.py:searching", "--name", name, "--budget", "5")
    wait_until_recorded(project / f".metta-sweep/sweeps/{name}%2Fsearch/ledger.jsonl", "start")
    refused = call("budget", f"{name}/search", "9")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"error: {name}/search: its budget is a share of that of the experiment that it runs within; change"
        " that one\n"
    )
    (project / "gate").touch()
    assert call("attach", name).returncode == 0


def test_search_attributes_for_which_a_namespace_has_no_room_are_told_with_who_helps(
    project: Path, server: Settings, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [part for n in range(10) for part in ("--name", f"Other{n}", "--type", "Keyword")]
    temporal(server, "operator", "namespace", "create", namespace="full")
    temporal(server, "operator", "search-attribute", "create", *others, namespace="full")
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "full")
    done = call("worker")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the search attributes of sweeps cannot be registered: Unable to create search attributes:"
        " cannot have more than 10 search attribute of type Keyword. Let somebody who may run"
        " `temporal operator search-attribute create --namespace full --name SweepStatus --type Keyword"
        " --name SweepBest --type Double --name SweepTrials --type Int --name SweepMetric --type Keyword`\n"
    )
