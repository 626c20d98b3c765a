import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest

from metta.sweep import Trial, current_trial
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.errors import TrialInterrupted
from metta.sweep.contracts.objectives import caller_of
from metta.sweep.runners.outcome import Answer, Outcome, outcome_of

Reports = list[tuple[int, dict[str, float], str | None]]


def outcome(
    objective: Callable[[Trial], Any], folder: Path, stop_at: int | None = None, **fields: Any
) -> tuple[Outcome, Reports]:
    """What comes of an objective, and what it reported; the answer to step ``stop_at`` is to stop."""
    reports: Reports = []

    def send(step: int, metrics: dict[str, float], checkpoint: str | None, is_last: bool) -> Answer:
        reports.append((step, metrics, checkpoint))
        return "stop" if step == stop_at else "go"

    attempt = Attempt(**{"trial": 3, "params": {"x": 1}, "seed": 7, "folder": str(folder)} | fields)
    return outcome_of(attempt, caller_of(objective), send), reports


def steps(trial: Trial) -> str:
    for step in range(1, 6):
        checkpoint = trial.checkpoint_dir / str(step)
        checkpoint.touch()
        trial.report(step, loss=1 / step, checkpoint=checkpoint)
    return "not a metric"


def test_a_trial_knows_all_about_itself(tmp_path: Path) -> None:
    def objective(trial: Trial) -> float:
        assert current_trial() is trial
        assert (trial.number, trial.params, trial.seed, trial.attempt) == (3, {"x": 1}, 7, 2)
        assert (trial.until_step, trial.resume_from) == (9, tmp_path / "before")
        assert trial.checkpoint_dir == tmp_path / "checkpoints"
        return 0.5

    fields: dict[str, Any] = {"attempt": 2, "until_step": 9, "resume_from": str(tmp_path / "before")}
    assert outcome(objective, tmp_path, **fields)[0].metrics == {"value": 0.5}
    with pytest.raises(RuntimeError, match="no trial runs"):
        current_trial()


def test_a_trial_pauses_at_its_last_step_with_its_last_checkpoint(tmp_path: Path) -> None:
    ended, reports = outcome(steps, tmp_path, until_step=3)
    assert (ended.kind, ended.step, ended.checkpoint) == ("paused", 3, str(tmp_path / "checkpoints" / "3"))
    assert [step for step, _, _ in reports] == [1, 2, 3]


def test_a_trial_ends_at_its_last_step_whatever_it_would_be_told(tmp_path: Path) -> None:
    assert outcome(steps, tmp_path, stop_at=3, until_step=3)[0].kind == "paused"


def swallows(trial: Trial) -> float:
    with suppress(BaseException):
        steps(trial)
    for step in range(6, 9):
        with suppress(BaseException):
            trial.report(step, loss=0.0)
    return 0.0


def fails_in_its_cleanup(trial: Trial) -> None:
    try:
        steps(trial)
    finally:
        raise RuntimeError("cleanup")


async def reports_in_a_group_of_tasks(trial: Trial) -> None:
    async def one() -> None:
        steps(trial)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one())


@pytest.mark.parametrize("objective", [steps, swallows, fails_in_its_cleanup, reports_in_a_group_of_tasks])
@pytest.mark.parametrize("kind", ["paused", "stopped"])
def test_what_an_objective_does_with_its_interruption_changes_nothing(
    objective: Callable[[Trial], Any], kind: str, tmp_path: Path
) -> None:
    limits = {"until_step": 2} if kind == "paused" else {"stop_at": 2}
    ended, reports = outcome(objective, tmp_path, **limits)
    assert ended.kind == kind
    assert [step for step, _, _ in reports] == [1, 2]


def test_threads_report_one_after_the_other_and_not_after_the_end(tmp_path: Path) -> None:
    late: list[BaseException] = []

    def reports_late(trial: Trial) -> None:
        sleep(0.2)
        try:
            trial.report(100, loss=0.0)
        except TrialInterrupted as error:
            late.append(error)

    def objective(trial: Trial) -> None:
        threads.append(Thread(target=reports_late, args=(trial,)))
        threads[0].start()
        trial.report(1, loss=1.0)

    threads: list[Thread] = []
    ended, reports = outcome(objective, tmp_path)
    threads[0].join()
    assert ended.kind == "completed"
    assert [step for step, _, _ in reports] == [1]
    assert len(late) == 1


def test_the_end_waits_for_a_report_that_another_thread_has_under_way(tmp_path: Path) -> None:
    order: list[str] = []

    def send(step: int, metrics: dict[str, float], checkpoint: str | None, is_last: bool) -> Answer:
        sleep(0.2)
        order.append("reported")
        return "go"

    def objective(trial: Trial) -> float:
        Thread(target=lambda: trial.report(1, loss=1.0)).start()
        sleep(0.05)
        return 0.5

    outcome_of(Attempt(trial=0, params={}, seed=0, folder=str(tmp_path)), objective, send)
    order.append("ended")
    assert order == ["reported", "ended"]


# --- checkpoints ---


def checkpoints(*paths: Callable[[Path], Path]) -> Callable[[Trial], None]:
    """An objective that writes and reports checkpoints."""

    def objective(trial: Trial) -> None:
        for step, path in enumerate(paths):
            checkpoint = path(trial.checkpoint_dir)
            if not checkpoint.exists():
                checkpoint.parent.mkdir(parents=True, exist_ok=True)
                checkpoint.write_text("weights")
            trial.report(step, loss=0.0, checkpoint=checkpoint)

    return objective


def test_a_folder_with_links_that_lead_nowhere_and_pipes_is_a_checkpoint(tmp_path: Path) -> None:
    def odd(own: Path) -> Path:
        folder = own / "odd"
        folder.mkdir()
        (folder / "latest").symlink_to("missing")
        os.mkfifo(folder / "pipe")
        return folder

    assert outcome(checkpoints(odd), tmp_path)[0].kind == "completed"


def test_a_relative_checkpoint_is_told_by_its_full_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, reports = outcome(checkpoints(lambda _: Path("weights")), tmp_path)
    assert reports[0][2] == str(tmp_path / "weights")
