"""Runs that stages of a local run ask for, and what may not ask for any."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.errors import StageFailed
from metta.sweep.contracts.nesting import Wanted
from metta.sweep.experiments.base import Pipeline
from metta.sweep.pipeline import nesting
from tests.experiments.idioms import Leaf


def runs(*_: Any) -> Any:
    return Leaf(n=3).run()


def fails(*_: Any) -> int:
    raise ValueError("no luck")


def ones(*_: Any) -> int:
    return 1


REFUSED: dict[str, Callable[[], Pipeline[Any]]] = {
    "predicate": lambda: Pipeline().conditional(runs, Pipeline().stage("a", ones)),
    "transform": lambda: Pipeline().stage("a", ones).through(transform=runs),
    "skip_if": lambda: Pipeline().stage("a", ones).through(skip_if=runs),
    "on_error": lambda: Pipeline().stage("a", fails).through(on_error=runs),
}


@pytest.mark.parametrize("where", REFUSED)
def test_predicates_and_hooks_of_a_local_run_run_nothing(project: Path, where: str) -> None:
    with pytest.raises(StageFailed, match="cannot be run in a hook or a predicate; run it in the code"):
        REFUSED[where]().run_local()
    assert not (project / ".metta-sweep").exists()


def test_stages_of_a_local_run_hand_runs_to_tasks_and_groups() -> None:
    async def stage() -> list[int]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(Leaf(n=2).run())
        return [task.result(), await asyncio.create_task(Leaf(n=3).run())]

    assert Pipeline().stage("a", stage).run_local() == [2, 3]


def test_a_stage_that_is_cancelled_by_itself_has_failed() -> None:
    async def stage() -> int:
        raise asyncio.CancelledError

    with pytest.raises(StageFailed, match="as if it were cancelled"):
        Pipeline().stage("a", stage).run_local()


def test_what_nobody_wants_any_more_does_not_begin() -> None:
    done: list[int] = []
    end = Future[Any]()
    end.cancel()
    wanted = Wanted(
        name=None,
        kind="train",
        workflow="Sweep",
        given=None,
        definition=None,
        input=lambda _: {},
        summary="",
        here=lambda: done.append(1),
    )
    nesting._run(wanted, end)
    assert done == []
