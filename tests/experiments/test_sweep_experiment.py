"""Sweeps as users run them from Python; see test_definitions.py for what is refused before it starts."""

import asyncio
from pathlib import Path
from threading import Thread
from time import sleep

import pytest

from metta.sweep import Budget, DefinitionError, Resources, RetryPolicy, SweepFailed, Uniform
from metta.sweep.client import following, live
from metta.sweep.client.loop import call
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.runners.slots import MachineSlots
from tests.experiments.conftest import runs

X = {"x": Uniform(0, 1)}
ONE = LocalExecutor(max_parallel=1)


def test_a_sweep_needs_neither_server_nor_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "mine.py").write_text("def train(params):\n    return {'accuracy': params['x']}\n", "utf-8")
    results = SweepExperiment("mine.py:train", X, metric="accuracy", seed=1).run(budget=5)
    values = [trial.metrics["accuracy"] for trial in results.trials]
    assert len(values) == 5
    assert results.best_metric == max(values) == results.final_performance["accuracy"]
    assert results.best_params == results.best_trial.params == {"x": results.best_metric}
    assert [row.value for row in results.leaderboard(2)] == sorted(values, reverse=True)[:2]
    out, err = capsys.readouterr()
    assert out == ""
    assert f"sweep {results.sweep_id}  http://127.0.0.1:" in err
    assert "accuracy is maximized, going by its name" in err
    assert "5 of 5 trials in" in err
    assert "\x1b" not in err


def test_a_started_sweep_is_attached_to_and_awaited(hosted: Path) -> None:
    handle = SweepExperiment("mine.py:train", X, name="awaited", seed=1, optimizer=RandomOptimizer(X)).start(
        3
    )
    pending = handle.result()
    assert repr(pending) == "Results('awaited', pending)"

    async def best() -> float:
        return (await SweepExperiment.attach("awaited").result()).best_metric

    assert asyncio.run(best()) == pending.best_metric  # which reads without awaiting
    assert repr(pending).startswith("Results('awaited', 3 trials, best accuracy 0.")
    assert handle.status().state == "finished"
    assert handle.status().reason == "budget"


def test_a_finished_sweep_goes_on_with_a_larger_budget(
    hosted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = SweepExperiment("mine.py:train", X, name="longer", seed=1)
    first = sweep.run(Budget(trials=2, target=2.0))
    again = sweep.run(resume=True)
    assert len(again.trials) == 2
    longer = sweep.run(4, resume=True)
    assert [t.params for t in longer.trials[:2]] == [t.params for t in first.trials]
    assert len(longer.trials) == runs(hosted) == 4
    assert "has changed" not in capsys.readouterr().err
    assert sweep.attach("longer").status().control.budget == Budget(trials=4, target=2.0)


def test_resuming_a_running_sweep_attaches_and_raises_its_budget(hosted: Path) -> None:
    sweep = SweepExperiment("mine.py:slow", X, name="busy", seed=1, executor=ONE)
    handle = sweep.start(1)
    assert len(sweep.start(2, resume=True).result().trials) == 2
    assert len(handle.result().trials) == 2


def test_a_stopped_sweep_goes_on(hosted: Path) -> None:
    sweep = SweepExperiment("mine.py:slow", X, name="stopped", seed=1, executor=ONE)
    handle = sweep.start(1)
    while not handle.status().progress.best:
        sleep(0.05)
    handle.stop()
    assert handle.result().trials[0].status == "stopped"
    assert handle.status().reason == "stopped"
    assert len(sweep.run(2, resume=True).trials) == 2


def test_a_name_in_use_is_refused_with_what_to_do(hosted: Path) -> None:
    SweepExperiment("mine.py:train", X, name="taken").run(1)
    with pytest.raises(DefinitionError, match=r"'taken' is in use; continue that sweep with resume=True"):
        SweepExperiment("mine.py:train", X, name="taken").run(1)
    with pytest.raises(DefinitionError, match=r"search_space\S* was 1\S* and is now 2") as caught:
        SweepExperiment("mine.py:train", {"x": Uniform(0, 2)}, name="taken").run(1, resume=True)
    assert "another definition needs another name" in str(caught.value)


def test_changed_code_is_noted(hosted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = SweepExperiment("mine.py:train", X, name="edited")
    sweep.run(1)
    with (hosted / "mine.py").open("a") as file:
        file.write("# better now\n")
    sweep.run(2, resume=True)
    assert "note: the code of train has changed since this sweep last ran" in capsys.readouterr().err


def test_a_bare_number_without_goal_ends_the_sweep_and_nothing_is_lost(hosted: Path) -> None:
    with pytest.raises(SweepFailed, match='add goal="maximize" or goal="minimize"') as caught:
        SweepExperiment("mine.py:bare", X, name="bare", executor=ONE).run(3)
    assert "resume=True" in str(caught.value)
    before = runs(hosted)
    results = SweepExperiment("mine.py:bare", X, name="bare", executor=ONE, goal="minimize").run(
        3, resume=True
    )
    assert results.best_metric == min(trial.params["x"] for trial in results.trials)
    assert len(results.trials) == 3
    assert runs(hosted) == 3 > before > 0


def test_a_metric_names_a_bare_number_and_its_goal_is_stored(hosted: Path) -> None:
    sweep = SweepExperiment("mine.py:bare", X, name="named", metric="val_loss", seed=1)
    results = sweep.run(3)
    assert results.best_metric == min(trial.params["x"] for trial in results.trials)
    assert results.progress.goal == "minimize"
    with pytest.raises(DefinitionError, match="goal was 'minimize' and is now 'maximize'"):
        SweepExperiment("mine.py:bare", X, name="named", metric="val_loss", seed=1, goal="maximize").run(
            4, resume=True
        )


def test_failures_are_counted_and_shown(hosted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = SweepExperiment(base_experiment="mine.py:picky", search_space=X, seed=1).run(8)
    failed = [trial for trial in results.trials if trial.status == "failed"]
    assert 0 < len(failed) < 8
    assert f"{len(failed)} failed, most often with: ValueError: x is too small" in capsys.readouterr().err


def test_a_sweep_whose_trials_all_fail_stops_with_the_commonest_traceback(hosted: Path) -> None:
    message = "all of the 5 finished trials failed, most often with: ValueError: no model for True"
    with pytest.raises(SweepFailed, match=message) as caught:
        SweepExperiment("mine.py:broken", X, executor=ONE).run(20)
    assert f'File "{hosted / "mine.py"}", line' in str(caught.value)
    assert "raise ValueError" in str(caught.value)


def test_max_failures_says_how_early(hosted: Path) -> None:
    sweep = SweepExperiment("mine.py:broken", X, name="early", executor=ONE, max_failures=2)
    with pytest.raises(SweepFailed, match="all of the 2 finished trials failed"):
        sweep.run(20)
    status = sweep.attach("early").status()
    assert (status.state, status.progress.counts.started) == ("failed", 2)
    assert "ValueError: no model" in status.notice


@pytest.mark.parametrize("retry", [2, RetryPolicy(max_attempts=2, initial=0)])
def test_a_failed_trial_is_tried_again(hosted: Path, retry: int | RetryPolicy) -> None:
    resources = Resources(cpu=2)
    results = SweepExperiment("mine.py:second_time", X, retry=retry, resources=resources).run(1)
    assert results.best_trial.attempt == 2
    assert results.final_performance == {"cpus": 2}


def test_a_trial_that_takes_too_long_fails(hosted: Path) -> None:
    with pytest.raises(SweepFailed, match=r"it took longer than 0\.5 s"):
        SweepExperiment("mine.py:slow", X, timeout=0.5).run(1)


def test_a_sweep_that_waits_for_the_machine_says_so(
    hosted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following, "NOTE_S", 0.2)
    monkeypatch.setattr(live, "LINE_S", 0.2)
    slots = MachineSlots(64)
    assert slots.reserve(64) == 64
    handle = SweepExperiment("mine.py:train", X, executor=ONE).start(1)

    def give_way() -> None:
        while not call(handle.note()):
            sleep(0.1)
        sleep(1.0)
        slots.close()

    Thread(target=give_way).start()
    following.followed(handle)
    assert (
        "0 of 1 trial in 0.0 s; note: a free slot: other sweeps use this machine" in capsys.readouterr().err
    )


def test_an_objective_that_cannot_be_imported_there_fails_at_once(hosted: Path) -> None:
    (hosted / "later.py").write_text("import no_such_module\n", "utf-8")
    sweep = SweepExperiment("later.py:train", X, name="later")
    with pytest.raises(DefinitionError, match="No module named 'no_such_module'"):
        sweep.run(1)
    status = sweep.attach("later").status()
    assert status.state == "failed"
    assert "No module named 'no_such_module'" in status.notice


def test_a_damaged_ledger_is_not_continued(hosted: Path) -> None:
    sweep = SweepExperiment("mine.py:train", X, name="damaged")
    sweep.run(1)
    ledger = hosted / ".metta-sweep/sweeps/damaged/ledger.jsonl"
    ledger.write_text(ledger.read_text("utf-8").replace('"x":', '"y":'), "utf-8")
    with pytest.raises(Exception, match=r"ledger\.jsonl, line \d+ \(byte \d+\) is damaged") as caught:
        sweep.run(2, resume=True)
    assert "head -c" in str(caught.value)
