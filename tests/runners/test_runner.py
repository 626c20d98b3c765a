import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import psutil
import pytest

from metta.sweep.contracts.events import Completed
from tests.runners.driving import ROOT, are_gone, attempt, code, driving


@contextmanager
def owner(folder: Path, objective: str, slots: int = 1, **params: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that owns a pool."""
    arguments = [str(folder), objective, json.dumps(params), str(slots)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runners.owner", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["sleep", "holds the interpreter", "ignores SIGTERM"])
def test_runners_die_with_their_pool_whatever_their_trials_do(how: str, project: Path) -> None:
    with owner(project, "hangs", how=how) as process:
        assert process.stdout
        pids = [int(pid) for pid in json.loads(process.stdout.readline()).values()]
        assert len(pids) == 2
        sleep(0.2)  # let it hang
        process.kill()
        assert are_gone(pids)


def test_runners_die_with_a_pool_that_dies_while_they_start(project: Path) -> None:
    with owner(project, "hangs", slots=4) as process:
        while len(runners := psutil.Process(process.pid).children()) < 4:
            sleep(0.01)
        process.kill()
        assert are_gone([runner.pid for runner in runners])


def test_an_interrupt_from_the_keyboard_is_the_business_of_the_pool(project: Path) -> None:
    with driving(code("hangs")) as driver:
        [runner, child] = driver.hung(attempt(how="hears"))
        assert os.getpgid(runner) != os.getpgid(0)
        os.kill(runner, signal.SIGINT)
        sleep(0.2)
        assert not are_gone([runner], patience_s=0)
        os.kill(child, signal.SIGINT)  # programs that a trial starts may be interrupted as ever
        assert are_gone([child])


def test_each_trial_finds_the_place_and_the_arguments_of_the_program(project: Path) -> None:
    argv = ["train.py", "--fast"]
    with driving(code("place", argv=tuple(argv))) as driver:
        ends = driver.run(*(attempt(number, home=str(project), argv=argv) for number in range(2)))
    for end in ends.values():
        assert isinstance(end, Completed)
        assert end.metrics == {"at_home": 1.0, "argv": 1.0}


def test_what_lies_about_in_the_working_directory_stands_in_for_nothing(project: Path) -> None:
    (project / "pydantic.py").write_text("raise RuntimeError('not the real one')\n")
    with driving(code("naps")) as driver:
        assert isinstance(driver.run(attempt(s=0))[0], Completed)
