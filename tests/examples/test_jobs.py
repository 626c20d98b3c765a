"""The trials in other languages, run as an executor runs them."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.attempts import Attempt
from metta.sweep.executors.reports import Reports
from tests.job import LIMIT_S, JobFiles

JOBS = Path(__file__).parents[2] / "examples/jobs"
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
GO = shutil.which("go")


@pytest.fixture(scope="module", params=["parabola.sh", "parabola.c", "parabola.go"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = JOBS / str(request.param)
    built = tmp_path_factory.mktemp("built") / f"{source.name}.out"
    match source.suffix:
        case ".sh":
            return source
        case ".c":
            if COMPILER is None:
                pytest.skip("no C compiler is on this machine: cc, gcc or clang")
            command = [COMPILER, "-std=c99", "-Wall", "-Wextra", "-Werror"]
        case _:
            if GO is None:
                pytest.skip("no Go is on this machine")
            command = [GO, "build"]
    # Go would else fetch another version of itself where somebody asks for one
    subprocess.run([*command, "-o", built, source], check=True, env={**os.environ, "GOTOOLCHAIN": "local"})
    return built


def files_in(folder: Path, x: float = 0.25, **told: Any) -> JobFiles:
    return JobFiles(folder, sweep="x", params={"step": "x", "x": x}, **told)


def losses(files: JobFiles) -> list[float]:
    return [line["metrics"]["loss"] for line in files.lines]


def test_a_trial_runs_to_its_end(program: Path, tmp_path: Path) -> None:
    files = files_in(tmp_path / "a folder, with (odd) names")
    done = files.run([program])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert files.steps == [1, 2, 3]
    assert losses(files) == [25, 6.25, 1.5625]
    assert [Path(line["checkpoint"]).is_file() for line in files.lines] == [True] * 3


def test_the_best_step_size_leads_straight_to_the_bottom(program: Path, tmp_path: Path) -> None:
    files = files_in(tmp_path / "try-1", x=0.5)
    files.run([program])
    assert losses(files) == [0, 0, 0]


def test_a_trial_that_pauses_goes_on_from_its_checkpoint(program: Path, tmp_path: Path) -> None:
    undisturbed = files_in(tmp_path / "undisturbed", x=0.1)
    undisturbed.run([program])
    before = files_in(tmp_path / "before", x=0.1, until_step=2)
    assert before.run([program]).returncode == 75
    checkpoint = before.lines[-1]["checkpoint"]
    after = files_in(tmp_path / "after", x=0.1, resume_from=checkpoint, step=2, attempt=2)
    assert after.run([program]).returncode == 0
    assert (before.steps, after.steps) == ([1, 2], [3])
    assert losses(before) + losses(after) == losses(undisturbed)


def test_a_trial_that_is_told_to_stop_ends_after_its_report(program: Path, tmp_path: Path) -> None:
    files = files_in(tmp_path / "try-1")
    (files.folder / "stop").touch()
    assert files.run([program]).returncode == 75
    assert files.steps == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_the_group_ends_it_at_its_next_report(
    program: Path, tmp_path: Path, number: signal.Signals
) -> None:
    held = tmp_path / "checkpoint"
    os.mkfifo(held)  # in whose opening the program waits, its handlers installed
    files = files_in(tmp_path / "try-1", resume_from=str(held))
    with files.started([program]) as process:
        with suppress(BrokenPipeError), held.open("w") as file:
            os.killpg(process.pid, number)
            file.write("0 10\n")
        assert process.wait(LIMIT_S) == 75
    assert files.steps in ([], [1])  # a shell gives up reading


def test_a_signal_that_ends_the_commands_of_a_shell_is_no_failure(tmp_path: Path) -> None:
    slow = tmp_path / "bin/sync"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\necho ready\nexec sleep 30\n")
    slow.chmod(0o755)
    files = files_in(tmp_path / "try-1")
    path = f"{slow.parent}{os.pathsep}{os.environ['PATH']}"
    with files.started([JOBS / "parabola.sh"], PATH=path) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(LIMIT_S) == 75


def test_a_path_that_they_cannot_read_is_told(program: Path, tmp_path: Path) -> None:
    files = files_in(tmp_path / "Köln")  # escaped in JSON
    done = files.run([program])
    if program.name == "parabola.go.out":  # which reads them all
        assert (done.returncode, files.steps) == (0, [1, 2, 3])
        return
    assert (done.returncode, files.lines) == (1, [])
    assert "JSON" in done.stderr


def test_parameters_that_make_no_sense_are_told(program: Path, tmp_path: Path) -> None:
    files = files_in(tmp_path / "try-1", x=-1)
    assert files.run([program]).returncode == 1
    assert files.lines == [{"failure": {"kind": "infeasible", "message": "x has to be above 0"}}]


def test_what_they_write_is_understood(program: Path, tmp_path: Path) -> None:
    files = files_in(tmp_path / "try-1")
    files.run([program])
    attempt = Attempt(trial=3, params={}, seed=7, folder=str(files.folder))
    reports = Reports(attempt)
    assert [event.metrics for event in reports.read(0.0)] == [{"loss": 25}, {"loss": 6.25}, {"loss": 1.5625}]
    assert reports.garbage == 0
