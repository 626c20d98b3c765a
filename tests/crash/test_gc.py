"""Garbage is collected beside what runs, twice at once, and by programs that are killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest
from rich.console import Console

from metta.sweep.client.collecting import Collected
from metta.sweep.client.experiments import Experiments
from metta.sweep.client.launches import Launches
from metta.sweep.client.results import table_of
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps
from metta.sweep.stores.data import DataStore
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.lineage import needed_by
from metta.sweep.worker.dev import stop_dev
from tests.cli.commands import ended, running
from tests.client.gathered import aged, counts, files, packer, paths, recorded, undeleted

PATIENCE_S = 40.0
BLOBS = 300

KILLED = """\
import os, signal, sys
from metta.sweep.cli.main import main

left = int(sys.argv[1])

def hook(event, arguments):
    global left
    if event not in ("os.remove", "os.rmdir"):
        return
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
main(["gc", "--delete"])
"""
"""Is killed when it is about to delete something for the n-th time."""

SCRIPT = """\
import json, time
from pathlib import Path
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline
from metta.sweep.schedulers import ASHAScheduler

def train(trial):
    step = json.loads(trial.resume_from.read_text()) if trial.resume_from else 0
    while step < 9:
        step += 1
        checkpoint = trial.checkpoint_dir / f"step-{step}"
        checkpoint.write_text(json.dumps(step))
        trial.report(step, acc=trial.params["x"] * step, checkpoint=checkpoint)
        time.sleep(0.03)

def large(x: int):
    return list(range(x, x + 3000))

def wait(x: list):
    while not Path("gate").exists():
        time.sleep(0.02)
    return [*x, 1]

sweep = SweepExperiment(train, {"x": Uniform(0, 1)}, metric="acc", seed=3, executor=LocalExecutor(1),
                        scheduler=ASHAScheduler(max_epochs=9, reduction_factor=3))
pipeline = Pipeline().stage("large", large).stage("wait", wait).stage("rest", lambda x: [*x, 2])
"""


@pytest.fixture
def hosted(project: Path, server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a script, on the server that all tests share."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", str(server.connect["target_host"]))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", str(server.connect["namespace"]))
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    return project


@pytest.fixture
def store(project: Path) -> FileStore:
    return FileStore(project / ".metta-sweep")


@contextmanager
def collecting() -> Iterator[list[Collected]]:
    """Within it garbage is collected again and again."""
    found: list[Collected] = []
    over = Event()

    def collect() -> None:
        while not over.is_set():
            found.append(Sweeps().gc(delete=True))

    thread = Thread(target=collect)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def littered(store: FileStore) -> dict[str, bytes]:
    """Put much garbage into a store, and a little that is needed; the latter by name."""
    undeleted(store.root, 12)
    values = [packer(store).kept([n] * 2000, 0) for n in range(10)]
    recorded(store, "e", *values[:5])
    blobs = DataStore(store.root)
    for n in range(BLOBS):
        path = blobs.path(f"{n:064x}.bin")
        path.parent.mkdir(exist_ok=True)
        path.touch()
    aged(store)
    needless = set(paths(Sweeps().gc()))
    needed = {}
    for file in files(store.root):
        path = file.relative_to(store.root)
        if needless.isdisjoint(map(str, (path, *path.parents))):
            needed[str(path)] = file.read_bytes()
    return needed


def held(store: FileStore, needed: dict[str, bytes]) -> bool:
    return {name: (store.root / name).read_bytes() for name in needed} == needed


def blobs_in(store: FileStore) -> int:
    return sum(len(os.listdir(folder)) for folder in store.root.glob("data/??"))


def until(is_so: Callable[[], object]) -> None:
    deadline = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < deadline
        sleep(0.001)


def test_one_that_is_killed_anywhere_has_done_no_harm_and_the_next_one_ends_it(store: FileStore) -> None:
    needed = littered(store)
    for deletions in (1, 3, 12, 30, 200):
        command = [sys.executable, "-c", KILLED, str(deletions)]
        before = len(files(store.root))
        assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
        assert len(files(store.root)) >= before - deletions
        assert held(store, needed)
    assert Sweeps().gc().count > 0
    assert Sweeps().gc(delete=True).problems == ()
    assert blobs_in(store) == 5
    assert held(store, needed)
    assert Sweeps().gc().count == 0


def test_two_at_once_do_the_work_of_one(store: FileStore) -> None:
    needed = littered(store)
    total = Sweeps().gc().count
    with running("gc", "--delete", "--json") as one, running("gc", "--delete", "--json") as other:
        done = [ended(one), ended(other)]
    assert [command.returncode for command in done] == [0, 0]
    found = [Collected.model_validate_json(command.stdout) for command in done]
    assert sum(one.count for one in found) >= total  # a folder may count for both
    assert sum(counts(one)["blobs"] for one in found) == BLOBS + 5
    assert held(store, needed)
    assert Sweeps().gc().count == 0


def test_a_sweep_that_runs_loses_nothing(hosted: Path, store: FileStore) -> None:
    with collecting() as found, running(*run("beside")) as command:
        assert ended(command).returncode == 0
    assert any("beside: it runs" in one.left for one in found)
    with running(*run("alone")) as command:
        assert ended(command).returncode == 0
    assert told(store, "beside") == told(store, "alone")
    for record in table_of(store.ledger("beside")).records:
        if checkpoint := needed_by(record):
            step = json.loads((store.sweep_folder("beside") / checkpoint).read_text("utf-8"))
            assert step == record.step


def run(name: str) -> list[str]:
    return ["run", "mine.py:sweep", "--name", name, "--budget", "12"]


def told(store: FileStore, name: str) -> list[object]:
    """What became of each trial."""
    return [
        (r.key, r.params, r.status, r.metrics, r.checkpoint) for r in table_of(store.ledger(name)).records
    ]


def test_an_experiment_that_runs_loses_nothing_however_old_its_values_are(
    hosted: Path, store: FileStore
) -> None:
    stray = packer(store).kept(list(range(7, 4000)), 0)  # nobody needs it
    with running("run", "mine.py:pipeline", "--name", "e", "--input", "5", "--json") as command:
        until(lambda: Experiments().attach("e").log.exists() if store.outcome_log("e").exists() else False)
        until(lambda: b'"large"' in (store.experiment_folder("e") / "outcomes.jsonl").read_bytes())
        aged(store)
        found = Sweeps().gc(delete=True)
        assert found.left == ("e: it runs",)
        (hosted / "gate").touch()
        done = ended(command)
    assert done.returncode == 0, done.stderr
    kept = json.loads(done.stdout)["value"]["kept"]
    assert json.loads(DataStore(store.root).path(kept).read_bytes()) == [*range(5, 3005), 1, 2]
    aged(store)
    assert counts(Sweeps().gc(delete=True))["blobs"] <= 1
    assert not DataStore(store.root).path(str(stray.kept)).exists()
    assert DataStore(store.root).path(kept).exists()


def test_a_server_that_has_ended_is_asked_all_the_same(project: Path, store: FileStore) -> None:
    """What somebody paused, and then ended server and worker of, still runs; nothing else tells it."""
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    with running(*run("paused")) as command:
        until(lambda: store.ledger("paused").exists())
        Sweeps().attach("paused").pause(now=True)
        command.kill()
    stop_dev(Settings.load(project), Console(quiet=True))
    launch = store.root / "launches/paused.json"
    launch.write_text(launch.read_text("utf-8").replace('"closed": false', '"closed": true'), "utf-8")
    assert Launches(store.root).unfinished() == []
    stray = store.value_path(store.put_value(b"code"))
    aged(store)
    found = Sweeps().gc(delete=True)
    assert found.left == ("paused: it runs",)
    assert {share.kind for share in found.garbage if share.count} == {"values"}
    assert not stray.exists()
    handle = Sweeps().attach("paused")
    launch.write_text(launch.read_text("utf-8").replace('"closed": true', '"closed": false'), "utf-8")
    Sweeps()  # brings its worker back
    handle.resume()
    assert [trial.status for trial in handle.result().trials].count("failed") == 0


def test_while_no_server_answers_what_has_not_ended_is_left(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    undeleted(store.root, 6, "over")
    undeleted(store.root, 6, "open")
    ledger = store.sweep_folder("open") / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    store.put_value(b"code")
    aged(store)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    found = Sweeps().gc(delete=True)
    assert [sentence.partition(",")[0] for sentence in found.left] == [
        "open: it has not ended",
        "values and blobs: what runs may refer to them",
    ]
    assert {path.split("/")[1] for path in paths(found)} == {"over"}
