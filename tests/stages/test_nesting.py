"""What becomes of the runs that the code of a stage asks for, in its process."""

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.nested import NestedEnd, NestedRun
from metta.sweep.contracts.nesting import Wanted
from metta.sweep.contracts.plans import At
from metta.sweep.stages.nesting import Asking, StageNesting, Trouble
from metta.sweep.stores.files import FileStore


def wanted() -> Wanted:
    return Wanted(
        name="same",
        kind="train",
        workflow="Sweep",
        given=None,
        definition=None,
        input=lambda _: {},
        summary="",
        here=lambda: None,
    )


def place(folder: Path, trouble: str = "") -> StageNesting:
    def ask(run: NestedRun) -> "Future[NestedEnd]":
        end = Future[NestedEnd]()
        end.set_result(NestedEnd(trouble=trouble))
        return end

    return StageNesting(ask, Asking("digits", At("search")), FileStore(folder), pickle=False)


def test_threads_that_ask_at_once_get_names_of_their_own(tmp_path: Path) -> None:
    asking, start, many = place(tmp_path), Barrier(8), 8

    def ask(_: int) -> list[str]:
        start.wait()
        return [asking.begun(wanted()).name for _ in range(100)]

    with ThreadPoolExecutor(many) as pool:
        names = [name for found in pool.map(ask, range(many)) for name in found]
    assert len(names) == len(set(names)) == 800


def test_trouble_is_raised_at_the_end_whatever_was_made_of_it(tmp_path: Path) -> None:
    def stage(asking: StageNesting) -> None:
        with closing(asking):
            try:
                asking.begun(wanted()).waited()
            except Trouble as trouble:
                raise ValueError("something else") from trouble

    with pytest.raises(Trouble, match="no such host"):
        stage(place(tmp_path, "no such host"))


async def test_trouble_is_raised_when_it_was_gathered(tmp_path: Path) -> None:
    async def stage(asking: StageNesting) -> list[Any]:
        with closing(asking):
            return [*await asyncio.gather(asking.begun(wanted()).awaited(), return_exceptions=True)]

    with pytest.raises(Trouble, match="no such host"):
        await stage(place(tmp_path, "no such host"))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_asks_for_nothing(tmp_path: Path) -> None:
    asking = place(tmp_path)
    if (pid := os.fork()) == 0:
        try:
            asking.begun(wanted())
        except SweepError as error:
            os._exit(7 if "in a process that the stage has forked" in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
