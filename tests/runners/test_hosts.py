"""Hosts: attempts that come one by one, from several threads, and report into files."""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import AttemptEnded, Completed, Failed, Stopped
from metta.sweep.runners.hosts import ObjectiveHost, Running
from metta.sweep.runners.processes import ProcessPool
from tests.rig import runners_of
from tests.runners.driving import attempt, code_here

pytestmark = pytest.mark.usefixtures("project")

PATIENCE_S = 30.0

COUNT = 1000
"""Attempts a thread."""

OBJECTIVES = """
from pathlib import Path
from time import sleep


def does(trial):
    for step in range(1, 4):
        trial.report(step=step, loss=step / 10)
        while trial.params.get("waits") and not Path("gate").exists():
            sleep(0.02)
    if trial.params.get("metrics"):
        trial.report(step=4, **{f"metric_{n}": 0.123456789012345 for n in range(trial.params["metrics"])})
    return 0.5


def trivial(params):
    return params["x"]
"""

Hosts = Callable[..., ObjectiveHost]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Makes hosts, which end with the test."""
    Path("does.py").write_text(OBJECTIVES, "utf-8")
    made: list[ObjectiveHost] = []

    def host(objective: str = "does:does", slots: int = 2) -> ObjectiveHost:
        made.append(ObjectiveHost(code_here(objective), slots, None))
        return made[-1]

    yield host
    for one in made:
        one.close()


def started(host: ObjectiveHost, given: Attempt) -> Running:
    file = Path(given.folder, "reports.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    running = host.start(given, file)
    assert running is not None
    return running


def end_of(running: Running) -> AttemptEnded:
    return running.end.result(PATIENCE_S)


def steps_of(running: Running) -> list[int]:
    file = Path(running.attempt.folder, "reports.jsonl")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [json.loads(line)["step"] for line in lines]


def until(is_so: Callable[[], object]) -> None:
    deadline = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < deadline
        sleep(0.02)


def test_attempts_report_into_their_files_and_end(hosts: Hosts) -> None:
    host = hosts()
    for running in [started(host, attempt(number)) for number in range(4)]:
        assert isinstance(end_of(running), Completed)
        assert steps_of(running) == [1, 2, 3]


def test_a_report_that_cannot_be_written_ends_its_attempt_alone(hosts: Hosts) -> None:
    host = hosts()
    large = started(host, attempt(0, metrics=2500))
    other = started(host, attempt(1, waits=True))
    if (error := large.end.exception(PATIENCE_S)) is None:
        end = end_of(large)
        assert isinstance(end, Failed)
        assert end.failure.kind == "bad_metric"
        assert "report fewer metrics" in end.failure.message
    else:
        assert "report fewer metrics" in str(error)
    assert steps_of(large) == [1, 2, 3]
    assert not other.end.done()
    Path("gate").touch()
    assert isinstance(end_of(other), Completed)
    assert isinstance(end_of(started(host, attempt(2))), Completed), "the host takes more"


def test_a_file_of_reports_that_cannot_be_opened_ends_its_attempt_alone(hosts: Hosts) -> None:
    host = hosts()
    obstacle = attempt(0)
    Path(obstacle.folder, "reports.jsonl").mkdir(parents=True)
    hindered = host.start(obstacle, Path(obstacle.folder, "reports.jsonl"))
    other = started(host, attempt(1))
    assert hindered is not None
    failed = hindered.end.exception(PATIENCE_S) or end_of(hindered)
    assert isinstance(failed, OSError | Failed)
    assert isinstance(end_of(other), Completed)


def test_attempts_of_many_threads_all_come_to_an_end(hosts: Hosts) -> None:
    host = hosts("does:trivial")
    begun: list[Running] = []
    folder = Path.cwd()

    def feed(first: int) -> None:
        for number in range(first, first + COUNT):
            given = Attempt(trial=number, params={"x": number}, seed=0, folder=str(folder / str(number)))
            running = host.start(given, folder / "reports.jsonl")
            assert running is not None
            begun.append(running)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads meet where they otherwise seldom do
    try:
        threads = [Thread(target=feed, args=(first * COUNT,)) for first in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wait([running.end for running in begun], PATIENCE_S).not_done
    values = {running.attempt.trial: end_of(running) for running in begun}
    assert len(values) == 3 * COUNT
    assert all(isinstance(end, Completed) and end.metrics == {"value": n} for n, end in values.items())


def test_an_error_of_its_thread_reaches_all_who_wait(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    host = hosts(slots=1)
    running, waiting = started(host, attempt(0, waits=True)), started(host, attempt(1))
    until(lambda: steps_of(running))

    def break_down(self: ProcessPool, timeout_s: float | None) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(ProcessPool, "wait", break_down)
    for one in (running, waiting):
        assert "out of order" in str(one.end.exception(PATIENCE_S))
    assert host.start(attempt(2), Path("reports.jsonl")) is None
    until(lambda: not runners_of())


def test_an_objective_that_cannot_be_loaded_ends_all_attempts_with_the_reason(hosts: Hosts) -> None:
    host = hosts("does:nonesuch", slots=1)
    # a host that is over takes no more
    begun = [host.start(attempt(number), Path("reports.jsonl")) for number in range(3)]
    assert begun[0] is not None
    for running in filter(None, begun):
        error = running.end.exception(PATIENCE_S)
        assert isinstance(error, DefinitionError)
        assert "nonesuch" in str(error)


def test_what_waits_is_stopped_at_once_and_what_runs_at_its_report(hosts: Hosts) -> None:
    host = hosts(slots=1)
    running, waiting = started(host, attempt(0, waits=True)), started(host, attempt(1))
    until(lambda: steps_of(running))
    waiting.stop()
    assert isinstance(end_of(waiting), Stopped)
    assert not running.end.done()
    running.stop()
    Path("gate").touch()
    assert isinstance(end_of(running), Stopped)
    running.stop()  # which changes nothing
    assert isinstance(end_of(started(host, attempt(2))), Completed)


def test_an_attempt_that_is_tried_again_begins_when_the_try_before_is_over(hosts: Hosts) -> None:
    host = hosts()
    first = started(host, attempt(0, waits=True))
    until(lambda: steps_of(first))
    second = started(host, attempt(0, waits=True))
    first.stop()
    Path("gate").touch()
    assert isinstance(end_of(first), Stopped)
    assert isinstance(end_of(second), Completed)


def test_a_host_that_is_closed_ends_all_processes_and_tells_so(hosts: Hosts) -> None:
    host = hosts(slots=1)
    running, waiting = started(host, attempt(0, waits=True)), started(host, attempt(1))
    until(lambda: steps_of(running))
    host.close()
    for one in (running, waiting):
        assert isinstance(one.end.exception(PATIENCE_S), OSError)
    assert host.start(attempt(2), Path("reports.jsonl")) is None
    assert not runners_of()
