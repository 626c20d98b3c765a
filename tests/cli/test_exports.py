"""What is recorded leaves the project as CSV, JSON Lines or Parquet."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Start
from metta.sweep.contracts.events import Created
from tests.cli.conftest import Caller
from tests.rights import without_rights
from tests.stores.disks import run_on_disk
from tests.stores.stories import spec

SCRIPT = """\
from metta.sweep import Choice, Infeasible, Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline

SPACE = {"x": Uniform(0, 1), "model": Choice(["cnn", "mlp"]), "cnn.layers": Choice([[32], [64, 32]])}

def train(trial):
    if trial.params["x"] < 0.4:
        raise Infeasible("x is too small")
    for step in (1, 2):
        trial.report(step=step, accuracy=trial.params["x"] * step)
    return {"accuracy": trial.params["x"], "size": 3.0}

sweep = SweepExperiment(train, SPACE, seed=1, metric="accuracy", executor=LocalExecutor(max_parallel=1))

class Nesting(Experiment):
    def pipeline(self):
        return Pipeline().stage("search", self.search).through(dict, metrics=lambda d: {"best": d["best"]})

    def search(self) -> dict:
        found = SweepExperiment(train, SPACE, seed=1, metric="accuracy", name="inner").run(budget=2)
        return {"best": found.best_metric}

if __name__ == "__main__":
    sweep.run(budget=8, name="digits")
"""


@pytest.fixture
def digits(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch, call: Caller) -> Path:
    """A project with a sweep that has ended; no server can be asked any more."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    call.printed("run", "mine.py")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    return project


@pytest.fixture
def told(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the ledger of a sweep that nobody has run."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    ledger = Sweeps().store.ledger("digits")
    ledger.commit(Chunk(n=0, writer="w", epoch=1, events=(Created(at=1.0, spec=spec()),)))
    start = Start(trial=0, params={"x": 0.5}, seed=0)
    ledger.commit(Chunk(n=1, writer="w", epoch=1, decisions=(start,)))
    return project


def test_trials_are_exported_in_all_formats(digits: Path, call: Caller) -> None:
    text = call.printed("export", "digits")
    frame = pd.read_csv(io.StringIO(text))
    records = Sweeps().table("digits").records
    assert frame["status"].tolist() == [record.status for record in records]
    assert set(frame["status"]) == {"completed", "failed"}
    assert frame["params.x"].tolist() == [record.params["x"] for record in records]
    assert frame.loc[frame["status"] == "failed", "failure.kind"].unique().tolist() == ["infeasible"]
    lines = [json.loads(line) for line in call.printed("export", "digits", "--format", "jsonl").splitlines()]
    assert [line["params"] for line in lines] == [record.params for record in records]
    (digits / "rates.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    query = "select trial, value, params.model from 'rates.jsonl' order by value limit 3"
    best = sorted((line["value"], line["trial"]) for line in lines if line.get("value"))
    assert [row[:2] for row in duckdb.execute(query).fetchall()] == [(t, v) for v, t in best[:3]]
    told = call.printed("export", "digits", "-o", "digits.parquet")
    assert told == "8 trials of digits written to digits.parquet\nnext: sweep show digits\n"
    parquet = pd.read_parquet("digits.parquet")
    assert parquet["params.x"].tolist() == frame["params.x"].tolist()
    summary = call.json("export", "digits", "-o", "digits.txt", "--format", "csv")
    assert summary == {"name": "digits", "what": "trial", "rows": 8, "format": "csv", "path": "digits.txt"}
    assert (digits / "digits.txt").read_text("utf-8") == text


def test_reports_are_exported_row_by_row(digits: Path, call: Caller) -> None:
    frame = pd.read_csv(io.StringIO(call.printed("export", "digits", "--reports")), parse_dates=["time"])
    completed = [r for r in Sweeps().table("digits").records if r.status == "completed"]
    assert frame["trial"].tolist() == [r.number for r in completed for _ in range(2)]
    assert frame["step"].tolist() == [1, 2] * len(completed)
    expected = [r.params["x"] * step for r in completed for step in (1, 2)]
    assert frame["metrics.accuracy"].tolist() == pytest.approx(expected)
    assert frame["time"].is_monotonic_increasing
    assert str(frame["time"].dt.tz) == "UTC"
    assert call.json("export", "digits", "--reports", "-o", "r.parquet")["rows"] == len(frame)
    assert pd.read_parquet("r.parquet")["time"].tolist() == frame["time"].tolist()


def test_files_are_replaced_only_by_force(told: Path, call: Caller) -> None:
    (told / "digits.csv").write_text("mine", "utf-8")
    refused = call("export", "digits", "-o", "digits.csv")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "digits.csv is there already: add --force" in refused.stderr
    assert (told / "digits.csv").read_text("utf-8") == "mine"
    call.printed("export", "digits", "-o", "digits.csv", "--force")
    assert (told / "digits.csv").read_text("utf-8").startswith("trial,status,value")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("dgits",), 1, "there is no sweep or experiment 'dgits' here; did you mean digits?"),
        (("digits", "--format", "xml"), 2, "there is no format 'xml'. Known: csv, jsonl, parquet"),
        (("digits", "--json"), 2, "add -o FILE, or ask for --format jsonl"),
        (("digits", "--force"), 2, "--force replaces a file: add -o FILE"),
        (("digits", "-o", "a.txt"), 2, "the ending '.txt' does not tell the format of a.txt: add --format "),
        (
            ("digits", "-o", "a"),
            2,
            "a name without an ending does not tell the format of a: add --format csv",
        ),
        (("digits", "-o", "none/a.csv"), 2, "there is no folder none: make it first"),
        (("digits", "-o", "/dev/full", "--format", "csv"), 2, "/dev/full is no file: leave -o out, and lead"),
        (
            ("digits", "-o", "/proc/a.csv"),
            1,
            "error: /proc/a.csv cannot be written: No such file or directory",
        ),
        (
            ("digits", "-o", ".", "--format", "csv"),
            2,
            ". is a folder: add the name of a file, such as trials.csv",
        ),
    ],
)
def test_what_cannot_be_exported_is_told(
    told: Path, call: Caller, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = call("export", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_stages_and_sweeps_within_experiments_are_exported(
    digits: Path, call: Caller, server: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    call.printed("run", "mine.py:Nesting", "--name", "outer")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    [stage] = [json.loads(line) for line in call.printed("export", "outer", "--format", "jsonl").splitlines()]
    assert (stage["stage"], stage["status"], stage["attempts"]) == ("search", "done", 1)
    assert stage["failure"] is None
    [inner] = [name for name in Sweeps().store.names() if name.startswith("outer/")]
    frame = pd.read_csv(io.StringIO(call.printed("export", inner)))
    assert len(frame) == 2
    assert stage["metrics"] == {"best": frame["value"].max()}
    refused = call("export", "outer", "--reports")
    assert refused.returncode == 2
    assert "it is an experiment, whose rows are its stages" in refused.stderr


def test_another_program_is_sent_parquet(told: Path) -> None:
    command = [str(Path(sys.executable).with_name("sweep")), "export", "digits", "--format", "parquet"]
    piped = subprocess.run(command, capture_output=True, check=True)
    assert len(pd.read_parquet(io.BytesIO(piped.stdout))) == 1


def test_no_terminal_is_sent_parquet(told: Path) -> None:
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("sweep")), "export", "digits", "--format", "parquet"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert "no terminal can show parquet: add -o FILE" in done.stderr


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
@pytest.mark.parametrize("arguments", [("--format", "parquet"), ("-o", "digits.parquet")])
def test_what_parquet_needs_and_is_not_installed_is_told(
    told: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, missing: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = call("export", "digits", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f'error: Parquet: it needs {missing}: pip install "metta-sweep[report]"\n'
    assert not list(told.glob("*digits*"))


def test_a_folder_in_which_nobody_may_write_is_told(told: Path) -> None:
    folder = told / "theirs"
    folder.mkdir(mode=0o555)
    sweep = str(Path(sys.executable).with_name("sweep"))
    command = without_rights([sweep, "export", "digits", "-o", "theirs/digits.csv"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: theirs/digits.csv cannot be written: Permission denied\n"


def test_a_disk_that_is_full_is_told_and_nothing_is_left(told: Path) -> None:
    left = run_on_disk(
        told / "small",
        "size=4k",
        """
        import subprocess, sys
        from pathlib import Path

        place = Path(sys.argv[1])
        sweep = Path(sys.executable).with_name("sweep")
        (place / "theirs").write_bytes(bytes(4096))
        command = [sweep, "export", "digits", "-o", place / "digits.csv"]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.returncode, [done.stdout], [file.name for file in place.iterdir()], done.stderr, end="")
        """,
    )
    problem = f"error: {told}/small/digits.csv cannot be written: No space left on device\n"
    assert left == f"1 [''] ['theirs'] {problem}"
