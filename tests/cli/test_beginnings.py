"""What is over and cannot begin again: its Python is gone, or somebody else was faster."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from metta.sweep.client import retries
from metta.sweep.client.settings import Settings
from tests.cli.commands import sweep
from tests.cli.conftest import Caller

SCRIPT = """\
from pathlib import Path

from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline


def once(x: int):
    if not Path("mended").exists():
        raise ValueError("no luck today")
    return x


def train(params):
    return {"accuracy": once(params["x"])}


pipeline = Pipeline().stage("once", once)
search = SweepExperiment(train, {"x": Uniform(0, 1)}, metric="accuracy", budget=1)
"""


@pytest.fixture
def mine(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a script, on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    return project


def failed(call: Caller, kind: str) -> str:
    """Name of an experiment or a sweep that has failed."""
    name = f"failed-{uuid4().hex[:6]}"
    given = ["mine.py:pipeline", "--input", "1"] if kind == "experiment" else ["mine.py:search"]
    assert call("run", *given, "--name", name).returncode == 1
    return name


def test_a_python_that_is_gone_is_told(mine: Path, call: Caller) -> None:
    name = failed(call, "experiment")
    file = mine / f".metta-sweep/launches/{name}.json"
    launch = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**launch, "interpreter": "/no/such/python"}), "utf-8")
    done = call("retry", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: the experiment {name}: it cannot be started as it was: [Errno 2] No such file or directory:"
        " '/no/such/python'\n"
    )


@pytest.mark.parametrize(("kind", "more"), [("experiment", []), ("sweep", ["--budget", "2"])])
def test_who_is_slower_than_somebody_else_is_told_how_to_watch(
    mine: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, kind: str, more: list[str]
) -> None:
    name = failed(call, kind)
    (mine / "mended").touch()
    launch_of: Callable[..., Any] = vars(retries)["_launch_of"]

    def slowly(*given: Any) -> Any:
        """Another terminal does it meanwhile, from beginning to end."""
        done = sweep("retry", name, *more)
        assert done.returncode == 0, done.stderr
        return launch_of(*given)

    monkeypatch.setattr(retries, "_launch_of", slowly)
    done = call("retry", name, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: the {kind} {name}: somebody else has just begun it again: `sweep attach {name}` watches it\n"
    )
