"""Hosting: a session made of plain data, unless the name is in use."""

import os
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from metta.sweep.client.results import table_of
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.errors import DefinitionChanged, DefinitionError, NameInUse
from metta.sweep.contracts.sweeps import Counts, SessionInput, SessionResult
from metta.sweep.contracts.trials import Trial
from metta.sweep.runners.processes import ProcessPool
from metta.sweep.search.host import host, process_pool
from metta.sweep.search.search import Search
from metta.sweep.stores.files import FileStore
from tests.search.scripted import ScriptedPool, succeeds
from tests.stores.disks import ROOT
from tests.stores.stories import spec


def objective(trial: Trial) -> dict[str, float]:
    return {"acc": trial.params["x"], "pid": os.getpid()}


OBJECTIVE = f"{__name__}:objective"
CODE = Code(objective="", path=(str(ROOT),))

Runs = Callable[..., SessionResult | None]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


@pytest.fixture
def run(store: FileStore) -> Runs:
    def runs(
        run: str, resume: bool = False, trials: int = 2, in_processes: bool = False, **definition: Any
    ) -> SessionResult | None:
        control = Control(run=run, budget=Budget(trials=trials))
        definition = {"objective": OBJECTIVE, "metric": "acc", **definition}
        given = SessionInput(sweep_id="a/b", spec=spec(**definition), control=control, resume=resume)
        pool = None if in_processes else ScriptedPool(succeeds)
        return host(given, store, CODE, pool).run(control)

    return runs


def test_a_session_writes_where_the_store_keeps_its_sweep(store: FileStore, run: Runs) -> None:
    result = run("first")
    assert result
    assert result.ledger == store.ledger("a/b").uri
    assert store.names() == ["a/b"]


def test_a_name_in_use_is_refused(run: Runs) -> None:
    run("first")
    with pytest.raises(NameInUse, match="the name 'a/b' is in use; continue that sweep with resume=True"):
        run("second")


def test_a_sweep_can_be_resumed_with_more_trials_but_not_with_another_definition(run: Runs) -> None:
    run("first")
    with pytest.raises(DefinitionChanged):
        run("second", resume=True, seed=5)
    result = run("third", resume=True, trials=4)
    assert result
    assert result.progress.counts == Counts(started=4, completed=4)


def test_another_try_of_the_same_run_may_use_its_name(run: Runs) -> None:
    run("first")
    result = run("first")
    assert result
    assert result.progress.counts == Counts(started=2, completed=2)


def test_a_name_of_which_only_a_torn_line_is_recorded_is_free(store: FileStore, run: Runs) -> None:
    ledger = store.sweep_folder("a/b") / "ledger.jsonl"
    ledger.parent.mkdir(parents=True)
    ledger.write_bytes(b'{"n":0,"writer"')
    assert run("first")


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ({"optimizer": "radnom"}, "unknown optimizer 'radnom'; did you mean random"),
        (
            {"scheduler": {"type": "batch", "batch_size": 0}},
            "batch_size has to be a whole number of at least 1",
        ),
        ({"scheduler": "random"}, "unknown scheduler 'random'"),
    ],
)
def test_wrong_components_are_told(run: Runs, definition: dict[str, Any], problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        run("first", **definition)


# --- runner processes, as a definition asks for them ---


def made(store: FileStore, **definition: Any) -> ProcessPool:
    definition = {"objective": OBJECTIVE, "metric": "acc", **definition}
    given = SessionInput(sweep_id="s", spec=spec(**definition), control=Control())
    return process_pool(given, Search(store.ledger("s"), given.spec, "s", "w"), store, CODE)


@pytest.mark.parametrize(("executor", "scheduler", "slots"), [(2, None, 2), (2, 1, 1), (1, 2, 1)])
def test_slots_are_those_of_executor_and_scheduler_whichever_are_fewer(
    store: FileStore, executor: int, scheduler: int | None, slots: int
) -> None:
    pool = made(
        store,
        executor={"type": "local", "max_parallel": executor},
        scheduler={"type": "asynchronous", "max_parallel": scheduler},
    )
    with closing(pool):
        assert pool.free() == slots


def test_trials_run_in_other_processes(store: FileStore, run: Runs) -> None:
    assert run("first", in_processes=True)
    metrics = [record.metrics for record in table_of(store.ledger("a/b")).records]
    assert len(metrics) == 2
    assert os.getpid() not in {found["pid"] for found in metrics}


def test_a_timeout_of_the_sweep_comes_before_that_of_the_executor(run: Runs) -> None:
    result = run(
        "first",
        in_processes=True,
        objective=f"{__name__}:endless",
        executor={"type": "local", "timeout": 3600, "max_parallel": 1},
        timeout=0.2,
        max_failures=1,
    )
    assert result
    assert (result.reason, result.message.splitlines()[0]) == (
        "failed",
        "the trial failed: it took longer than 0.2 s",
    )


def endless(trial: Trial) -> None:
    for step in count(1):
        trial.report(step, acc=0.5)
        sleep(0.02)
