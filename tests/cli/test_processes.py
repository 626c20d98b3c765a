"""Workers and servers that die, do not answer or do not end, as commands tell them."""

import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from time import sleep

import pytest

from metta.sweep.client import connection, detached, launches, ports, runs
from metta.sweep.client import server as embedded
from metta.sweep.client.locks import held
from tests.cli.commands import ended, interrupt, running, wait_until_recorded
from tests.cli.conftest import Caller, shapes
from tests.rig import pid_in

SCRIPT = """\
from pathlib import Path
from time import sleep

from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(trial):
    step = 0
    while not Path("gate").exists():
        trial.report(step=(step := step + 1), acc=trial.params["x"])
        sleep(0.02)
    return trial.params["x"]

sweep = SweepExperiment(train, {"x": Uniform(0, 1)}, name="digits").run(budget=1)
"""


@pytest.fixture
def started(project: Path, call: Caller) -> Path:
    """A project with the sweep ``digits``, which runs until there is a gate; its lock."""
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    call.printed("start", "mine.py")
    wait_until_recorded(project / ".metta-sweep/sweeps/digits/ledger.jsonl", "reported")
    return project / ".metta-sweep/launches/digits.lock"


@pytest.mark.parametrize("command", ["budget digits 2", "pause digits", "stop digits"])
def test_a_worker_that_does_not_answer_is_told_with_what_may_come_of_it(
    started: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(runs, "UPDATE_TIMEOUT", timedelta(seconds=1))
    worker = pid_in(started)
    os.kill(worker, signal.SIGSTOP)
    try:
        done = call(*command.split())
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: no worker of digits answers yet; `sweep attach digits` brings one, which may still do what"
        " was asked\n"
    )


def test_a_queue_that_nobody_serves_is_told(project: Path, call: Caller) -> None:
    """With the time that it really takes, which is longer than the server waits for an update each time."""
    (project / "lab.py").write_text(SCRIPT.partition("\nsweep =")[0], "utf-8")
    sweep = 'SweepExperiment(train, {"x": Uniform(0, 1)}, name="queued").run(budget=1)'
    (project / "mine.py").write_text(f"from lab import *\n{sweep}\n", "utf-8")
    call.printed("start", "mine.py", "--queue", "gpus")
    assert call.printed("ls").splitlines()[0].split()[:3] == ["sweep", "state", "trials"]
    assert [(each["sweep"], each["state"]) for each in call.json("ls")] == [("queued", "running")]
    assert call.printed("show", "queued").splitlines()[1:3] == [
        "0 trials in 0.0 s",
        "nothing is recorded of it yet",
    ]
    done = call("pause", "queued")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: no worker of queued answers yet; one that serves its queue may still do what was asked\n"
    )


def test_a_worker_that_dies_whenever_it_starts_is_told_with_the_end_of_its_log(
    project: Path, started: Path, call: Caller
) -> None:
    (project / "temporalio.py").write_text("raise ImportError('not the one you look for')", "utf-8")
    os.kill(pid_in(started), signal.SIGKILL)
    done = call("attach", "digits")
    assert done.returncode == 1
    log = started.with_suffix(".log")
    assert f"error: the worker of digits dies while it starts; its log {log} ends with:\n" in done.stderr
    assert done.stderr.endswith("ImportError: not the one you look for\n")


def test_what_machines_read_stays_clean_while_a_server_is_lost(project: Path, started: Path) -> None:
    with running("attach", "digits", "--json") as command:
        sleep(1.0)
        for lock in (started, project / ".metta-sweep/server/alive.lock"):
            os.kill(pid_in(lock), signal.SIGKILL)
        sleep(3.0)
        (project / "gate").touch()
        done = ended(command)
    assert done.returncode == 0, done.stderr
    assert [line["state"] for line in shapes("attach", done.stdout)][-1] == "finished"


@pytest.mark.parametrize("look", ["watch digits", "logs digits 0 --follow"])
def test_who_goes_on_looking_brings_back_what_is_killed(project: Path, started: Path, look: str) -> None:
    with running(*look.split()) as command:
        sleep(1.0)
        for lock in (started, project / ".metta-sweep/server/alive.lock"):
            os.kill(pid_in(lock), signal.SIGKILL)
        (project / "gate").touch()
        done = ended(command)
    assert done.returncode == 0, done.stderr
    wait_until_recorded(project / ".metta-sweep/sweeps/digits/ledger.jsonl", "finish")


@pytest.mark.parametrize("look", ["watch", "watch digits", "logs digits 0 -f --json"])
def test_who_goes_on_looking_is_told_once_why_nothing_goes_on(
    project: Path, started: Path, look: str
) -> None:
    """What dies at each start is not started again and again."""
    (project / "temporalio.py").write_text("raise ImportError('not the one you look for')", "utf-8")
    os.kill(pid_in(started), signal.SIGKILL)
    with running(*look.split()) as command:
        sleep(12.0)  # twice as long as until it is seen to
        interrupt(command)
        done = ended(command)
    assert done.returncode == 130
    assert done.stderr.count("dies while it starts; its log") == 1
    assert done.stderr.rstrip().endswith("ImportError: not the one you look for")


def test_a_server_that_dies_while_it_starts_is_told_with_the_end_of_its_log(
    project: Path, call: Caller
) -> None:
    folder = project / ".metta-sweep/server"
    folder.mkdir(parents=True)
    (folder / "temporal.db").write_text("this is not a database\n" * 100, "utf-8")
    done = call("dev")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: the Temporal server did not start; its log {folder}/server.log ends with:\n"
    )
    assert "file is not a database" in done.stderr


def test_a_database_that_another_program_has_locked_is_told(project: Path, call: Caller) -> None:
    folder = project / ".metta-sweep/server"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "temporal.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE mine (x)")
        other.execute("BEGIN EXCLUSIVE")
        done = call("dev")
    assert (done.returncode, done.stdout) == (1, "")
    assert "database is locked" in done.stderr


@pytest.mark.usefixtures("started")
def test_a_server_of_which_nobody_knows_the_ports_is_told_with_the_way_out(
    project: Path, call: Caller
) -> None:
    file = project / ".metta-sweep/server/server.json"
    file.write_text("{", "utf-8")
    done = call("dev")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: a Temporal server runs in {file.parent}, but {file} is missing or damaged, so that nobody"
        " knows its ports. `sweep dev --stop` ends it, and the next command starts it again\n"
    )
    assert call.printed("dev", "--stop") == "stopped the workers of digits and the server\n"


@pytest.mark.parametrize(
    ("lock", "what"),
    [
        ("launches/digits.lock", "the worker of digits"),
        ("server/alive.lock", "the Temporal server in {server}"),
    ],
)
def test_what_does_not_end_is_told(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, lock: str, what: str
) -> None:
    """Even by force: its process waits for the system, as one does whose network drive is away."""
    for module in (launches, embedded):
        monkeypatch.setattr(module, "STOP_S", 0.1)
    file = project / ".metta-sweep" / lock
    descriptor = held(file)
    assert descriptor is not None
    try:
        pid = os.spawnlp(os.P_NOWAIT, "true", "true")
        os.waitpid(pid, 0)  # signals to it reach nobody, like those to what waits for the system
        file.write_text(str(pid), "utf-8")
        done = call("dev", "--stop")
    finally:
        os.close(descriptor)
    assert (done.returncode, done.stdout) == (1, "")
    named = what.format(server=project / ".metta-sweep/server")
    assert done.stderr == (
        f"error: {named} does not end, even by force: process {pid} waits for the system, such as for a drive"
        " that is away. Bring that back, and try it again\n"
    )


@pytest.mark.parametrize("command", ["replay digits", "start mine.py", "worker", "dev"])
def test_a_server_that_hangs_is_told_with_the_way_out(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    folder = project / ".metta-sweep/server"
    info = embedded.EmbeddedServer(folder).ensure()
    for name in ("CONNECT_S", "READY_S"):
        monkeypatch.setattr(connection, name, 0.2)
    pid = pid_in(folder / "alive.lock")
    os.kill(pid, signal.SIGSTOP)
    try:
        done = call(*command.split())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the embedded Temporal server at {info.address} cannot be used: it does not answer within"
        " 0.2 s. `sweep dev --stop` ends it, and the next command starts it again\n"
    )


def test_who_holds_a_lock_without_saying_who_he_is_is_told_with_how_to_find_him(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "PID_S", 0.1)
    monkeypatch.setattr(launches, "STOP_S", 0.1)
    lock = project / ".metta-sweep/launches/digits.lock"
    descriptor = held(lock)
    assert descriptor is not None
    try:
        done = call("dev", "--stop")
    finally:
        os.close(descriptor)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the worker of digits cannot be ended: some process holds {lock} and does not say there"
        f" which. `fuser {lock}` tells it; end that, and try it again\n"
    )


@pytest.mark.parametrize("command", ["dev", "start mine.py", "replay digits"])
def test_a_folder_where_a_log_is_to_be_is_told(project: Path, call: Caller, command: str) -> None:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    folder = project / ".metta-sweep" / ("launches/digits.log" if "start" in command else "server/server.log")
    folder.mkdir(parents=True)
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: a process that was to go on by itself did not start: {folder} is to be its log, and is a"
        " folder; move that away\n"
    )


def test_a_process_that_is_killed_before_it_begins_is_told(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "DETACH", "kill -KILL $$")
    done = call("dev")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: a process that was to go on by itself did not start: its shell has ended with -9; try it"
        " again\n"
    )


def test_a_machine_without_free_ports_is_told(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda host, port: port == 10_000)
    done = call("dev")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: no ports for this project's Temporal server: fewer than 2 ports from 10000 to 65535 are free"
        " on 127.0.0.1\n"
    )


def test_a_worker_whose_launch_is_gone_says_so(project: Path) -> None:
    with running("-m", "metta.sweep.worker", "--launch", "digits", program="python") as worker:
        done = ended(worker)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: nothing tells how the worker of digits is started:"
        f" {project}/.metta-sweep/launches/digits.json is missing\n"
    )
