"""Debugging: a whole sweep in this process and thread."""

import sys
from collections.abc import Callable
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest

from metta.sweep.client.results import table_of
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.errors import DefinitionError, NameInUse, SweepFailed
from metta.sweep.contracts.events import Opened
from metta.sweep.contracts.sweeps import Counts, SessionInput
from metta.sweep.contracts.trials import Trial
from metta.sweep.search.debugging import debugged
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.trials import TrialTable
from tests.stores.stories import spec

Debugs = Callable[..., TrialTable]


@pytest.fixture
def debug(tmp_path: Path) -> Debugs:
    """Runs an objective here, and returns what is recorded of it."""

    def debugs(
        objective: Callable[..., Any] | str, run: str = "first", resume: bool = False, **definition: Any
    ) -> TrialTable:
        limits = definition.pop("limits", {"trials": 3})
        given = SessionInput(
            sweep_id="s",
            spec=spec(**{"metric": "acc", **definition}),
            control=Control(run=run, budget=Budget(**limits)),
            resume=resume,
        )
        debugged(given, FileStore(tmp_path), Code(objective=""), objective)
        return recorded(tmp_path)

    return debugs


def recorded(folder: Path) -> TrialTable:
    return table_of(FileStore(folder).ledger("s"))


def test_the_objective_has_this_thread_and_its_prints_are_seen(
    debug: Debugs, capsys: pytest.CaptureFixture[str]
) -> None:
    def objective(trial: Trial) -> dict[str, float]:
        assert current_thread() is main_thread()
        print("trial", trial.number)
        return {"acc": trial.params["x"]}

    table = debug(objective)
    assert capsys.readouterr().out == "trial 0\ntrial 1\ntrial 2\n"
    assert table.counts == Counts(started=3, completed=3)
    assert [table.value(record) for record in table.records] == [r.params["x"] for r in table.records]


def test_breakpoints_stop_in_the_objective(debug: Debugs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(sys._getframe(1).f_locals["trial"].number))

    def objective(trial: Trial) -> dict[str, float]:
        breakpoint()
        return {"acc": 1}

    debug(objective)
    assert seen == [0, 1, 2]


def test_an_objective_can_be_named(debug: Debugs) -> None:
    assert debug(f"{__name__}:named").counts.completed == 3
    with pytest.raises(DefinitionError, match="cannot be imported"):
        debug("no_such_module:objective", run="second", resume=True)


def named(trial: Trial) -> dict[str, float]:
    return {"acc": 1}


def test_reports_and_checkpoints_are_those_of_any_sweep(debug: Debugs, tmp_path: Path) -> None:
    def objective(trial: Trial) -> None:
        for step in (1, 2):
            path = trial.checkpoint_dir / f"{step}.txt"
            path.write_text(str(step), "utf-8")
            trial.report(step, acc=step, checkpoint=path)

    table = debug(objective, limits={"trials": 1})
    [record] = table.records
    assert (record.metrics, record.step) == ({"acc": 2}, 2)
    assert record.checkpoint == "trials/0/seg-0/try-1/checkpoints/2.txt"
    assert (FileStore(tmp_path).sweep_folder("s") / record.checkpoint).read_text("utf-8") == "2"


def test_failures_are_recorded_and_tried_again(debug: Debugs) -> None:
    def objective(trial: Trial) -> dict[str, float]:
        if trial.attempt == 1:
            raise ValueError("not yet")
        return {"acc": 1}

    table = debug(objective, retry={"max_attempts": 2, "initial": 0})
    assert table.counts == Counts(started=3, completed=3)
    assert [record.failed for record in table.records] == [1, 1, 1]


def test_a_sweep_in_which_all_trials_fail_raises_the_commonest_traceback(debug: Debugs) -> None:
    def objective(trial: Trial) -> None:
        raise ValueError("boom")

    with pytest.raises(SweepFailed) as error:
        debug(objective, max_failures=2, limits={})
    assert str(error.value).startswith(
        "all of the 2 finished trials failed, most often with: ValueError: boom"
    )
    assert 'raise ValueError("boom")' in str(error.value)


def test_ctrl_c_ends_it_and_it_can_be_resumed(debug: Debugs, tmp_path: Path) -> None:
    def objective(trial: Trial) -> dict[str, float]:
        trial.report(1, acc=0.5)
        if trial.number == 1 and trial.attempt == 1:
            raise KeyboardInterrupt
        return {"acc": 1}

    with pytest.raises(KeyboardInterrupt):
        debug(objective)
    assert recorded(tmp_path).counts == Counts(started=2, completed=1, running=1)
    table = debug(objective, run="second", resume=True)
    assert table.counts == Counts(started=3, completed=3)
    assert [record.attempt for record in table.records] == [1, 2, 1]


def test_the_target_ends_a_trial_at_its_report(debug: Debugs) -> None:
    steps: list[int] = []

    def objective(trial: Trial) -> None:
        for step in range(1, 9):
            steps.append(step)
            trial.report(step, acc=step / 4)

    table = debug(objective, limits={"target": 0.75})
    assert steps == [1, 2, 3]
    assert table.counts == Counts(started=1, stopped=1)
    assert table.finish
    assert table.finish.reason == "target"


def test_a_name_in_use_is_refused_and_nothing_is_written(debug: Debugs, tmp_path: Path) -> None:
    debug(lambda trial: {"acc": 1})
    before = [*FileStore(tmp_path).ledger("s").read()]
    with pytest.raises(NameInUse):
        debug(lambda trial: {"acc": 1}, run="second")
    assert [*FileStore(tmp_path).ledger("s").read()] == before


def test_a_definition_that_cannot_run_is_told(debug: Debugs) -> None:
    with pytest.raises(DefinitionError, match="unknown optimizer 'best'"):
        debug(lambda trial: {"acc": 1}, optimizer="best")


def test_there_is_one_session(debug: Debugs, tmp_path: Path) -> None:
    debug(lambda trial: {"acc": 1})
    events = [event for chunk in FileStore(tmp_path).ledger("s").read() for event in chunk.events]
    assert sum(isinstance(event, Opened) for event in events) == 1
