"""A project whose sweeps run on a server that all tests share, and objectives to put into it."""

from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings

OBJECTIVES = """\
import time
from pathlib import Path

def train(params):
    with Path("runs.txt").open("a") as runs:
        runs.write("run\\n")
    return {"accuracy": params["x"]}

def bare(params):
    with Path("runs.txt").open("a") as runs:
        runs.write("run\\n")
    return params["x"]

def slow(trial):
    for step in range(1, 11):
        time.sleep(0.1)
        trial.report(step=step, accuracy=trial.params["x"])

def picky(params):
    if params["x"] < 0.5:
        raise ValueError("x is too small")
    return {"accuracy": params["x"]}

def broken(params):
    raise ValueError(f"no model for {params['x'] >= 0}")

def text(params):
    return "good"

def nothing(params):
    return None

def nan(params):
    return {"accuracy": float("nan")}

def second_time(trial):
    if trial.attempt < 2:
        raise OSError("not yet")
    return {"cpus": trial.resources.cpu}
"""


@pytest.fixture
def hosted(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with ``mine.py``; the server is there already, which saves seconds."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "mine.py").write_text(OBJECTIVES, "utf-8")
    return project


def runs(project: Path) -> int:
    """How often objectives of the project were really called."""
    file = project / "runs.txt"
    return len(file.read_text("utf-8").splitlines()) if file.exists() else 0
