"""Whatever is killed in the middle of a retry, the experiment is begun again once, and comes to its end."""

import json
from collections import Counter
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

import pytest

from metta.sweep.contracts.outcomes import Began, StageEnded
from metta.sweep.stores.files import FileStore
from tests.crash.projects import Project, kill

EntryT = TypeVar("EntryT", Began, StageEnded)

KILLED_S = 180

PATIENCE_S = 30.0

SCRIPT = """\
from pathlib import Path
from time import sleep
from metta.sweep.experiments.base import Pipeline

def count(n: int):
    with Path("notes").open("a") as notes:
        notes.write(f"{n}\\n")
    if n == 4 and not Path("mended").exists():
        raise ValueError("no luck")
    sleep(0.1)
    return {"n": n + 1}

counted = (
    Pipeline()
    .through(n=int)
    .loop_while(lambda n: n < 8)
    .stage("count", count)
    .through(n=int)
    .end_loop()
    .stage("tell", lambda n: n)
)
"""

KEPT, TURNS = 2, 8


@pytest.fixture
def failed(here: Project) -> Project:
    """A project with an experiment that has failed in its fifth turn, and is mended."""
    (here.folder / "mine.py").write_text(SCRIPT, "utf-8")
    run = ("run", "mine.py:counted", "--name", "counted", "--input", '{"n": 0}')
    with here.beginning(*run) as command:
        command.communicate()
    assert notes(here) == {str(n): 1 for n in range(5)}
    (here.folder / "mended").touch()
    return here


def notes(here: Project) -> Counter[str]:
    return Counter((here.folder / "notes").read_text("utf-8").splitlines())


def entries(here: Project, kind: type[EntryT]) -> list[EntryT]:
    return [e for e in FileStore(here.store).outcome_log("counted").entries() if isinstance(e, kind)]


def until(check: Callable[[], object]) -> None:
    deadline = monotonic() + PATIENCE_S
    while not check():
        assert monotonic() < deadline
        sleep(0.005)


def check_ended(here: Project, begun: int = 2) -> None:
    """The end is right, and each retry has forgotten once, and recorded each stage behind it once."""
    assert here.sweep("attach", "counted").splitlines()[-1] == str(TURNS)
    first, *others = entries(here, Began)
    assert first.forgotten == {}
    assert len(others) == begun - 1
    assert len({began.run for began in others}) == len(others)
    for began in others:
        assert began.forgotten["count"] == (KEPT,)
    log = [*FileStore(here.store).outcome_log("counted").entries()]
    behind = log[log.index(others[-1]) :]
    stages = [str(entry.at) for entry in behind if isinstance(entry, StageEnded)]
    assert stages == [*(f"count[{n}]" for n in range(KEPT, TURNS)), "tell"]
    ran = notes(here)
    assert {n: ran[str(n)] for n in range(KEPT)} == dict.fromkeys(range(KEPT), 1)
    shown = json.loads(here.sweep("show", "counted", "--json"))
    assert (shown["state"], shown["ended"]) == ("finished", 1 + TURNS + 1)


RETRY = ("retry", "counted", "--from-stage", f"count[{KEPT}]")


@pytest.mark.timeout(KILLED_S)
@pytest.mark.parametrize(
    ("when", "victims"),
    [
        ("before it began", "worker"),
        ("before it began", "server"),
        ("when it has begun", "worker and server"),
        ("between two stages", "worker"),
        ("between two stages", "server"),
    ],
)
def test_worker_and_server_may_be_killed_in_a_retry(failed: Project, when: str, victims: str) -> None:
    recorded = len(entries(failed, StageEnded))
    with failed.beginning(*RETRY) as command:
        until(lambda: failed.workers("counted") and failed.server())
        if when != "before it began":
            until(lambda: len(entries(failed, Began)) == 2)
        if when == "between two stages":
            until(lambda: len(entries(failed, StageEnded)) == recorded + 2)
        worker = failed.workers("counted") if "worker" in victims else []
        kill(*worker, *(failed.server() if "server" in victims else []))
        out, err = command.communicate()
    if command.returncode != 0:  # before it was started, the server may be missed
        assert when == "before it began", err
        state = json.loads(failed.sweep("show", "counted", "--json"))["state"]
        failed.sweep(*(RETRY if state == "failed" else ("attach", "counted")))
    else:
        assert out.splitlines()[-1] == str(TURNS)  # the engine's own library may complain there, too
    check_ended(failed)


@pytest.mark.timeout(KILLED_S)
def test_the_command_may_be_killed_at_any_moment_of_a_retry(failed: Project) -> None:
    begun = 1
    for tenth in range(2, 30, 3):
        with failed.beginning(*RETRY) as command:
            sleep(tenth / 10)
            kill(command.pid)
        state = json.loads(failed.sweep("show", "counted", "--json"))["state"]
        if state in ("running", "finished"):
            failed.sweep("attach", "counted")
        assert len(entries(failed, Began)) - begun in (0, 1)
        begun = len(entries(failed, Began))
    assert begun > 1, "the command was never killed behind the beginning"
    failed.sweep(*RETRY)
    check_ended(failed, begun + 1)
