import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from metta.sweep import Infeasible, Trial
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.failures import FailureKind
from metta.sweep.contracts.objectives import caller_of
from metta.sweep.runners.failures import MESSAGE_CHARS, TRACEBACK_CHARS, failure_of
from metta.sweep.runners.outcome import outcome_of


def failure(objective: Callable[[Any], Any]) -> tuple[FailureKind, str, str]:
    """The failure of an objective that is called as a runner does it."""
    attempt = Attempt(trial=0, params={}, seed=0, folder="nowhere")
    found = outcome_of(attempt, caller_of(objective), lambda *_: "go").failure
    assert found
    return found


def files_in(traceback: str) -> set[str]:
    return {line.split('"')[1].rpartition("/")[2] for line in traceback.splitlines() if 'File "' in line}


def divides(params: dict[str, Any]) -> float:
    return 1 / 0


async def divides_later(params: dict[str, Any]) -> float:
    await asyncio.sleep(0)
    return 1 / 0


def reports_nan(trial: Trial) -> None:
    trial.report(1, loss=float("nan"))


@pytest.mark.parametrize("objective", [divides, divides_later, reports_nan])
def test_a_traceback_shows_the_frames_of_the_user_alone(objective: Callable[[Any], Any]) -> None:
    _, _, traceback = failure(objective)
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert f"in {objective.__name__}" in traceback
    assert files_in(traceback) == {"test_failures.py"}


def test_a_traceback_tells_the_cause_too() -> None:
    def objective(params: dict[str, Any]) -> float:
        try:
            return divides(params)
        except ZeroDivisionError as error:
            raise RuntimeError("training failed") from error

    kind, message, traceback = failure(objective)
    assert (kind, message) == ("user", "RuntimeError: training failed")
    assert "ZeroDivisionError: division by zero" in traceback
    assert "direct cause" in traceback


def test_a_failure_without_a_frame_of_the_user_has_no_traceback() -> None:
    kind, _, traceback = failure(lambda params: "good")
    assert (kind, traceback) == ("bad_metric", "")


async def fails_in_tasks(*errors: Exception) -> None:
    async def one(error: Exception) -> None:
        raise error

    async with asyncio.TaskGroup() as outer:
        async with asyncio.TaskGroup() as inner:
            for error in errors:
                inner.create_task(one(error))
        outer.create_task(one(ValueError("never")))


@pytest.mark.parametrize(
    ("errors", "kind", "message"),
    [
        ([ValueError("a")], "user", "ValueError: a"),
        ([ValueError("a"), KeyError("b")], "user", "ValueError: a; KeyError: 'b'"),
        ([ValueError("a"), Infeasible("too big")], "infeasible", "too big"),
        ([MemoryError()], "oom", "MemoryError"),
    ],
)
def test_groups_of_exceptions_are_told_by_their_members(
    errors: list[Exception], kind: str, message: str
) -> None:
    async def objective(params: dict[str, Any]) -> None:
        await fails_in_tasks(*errors)

    got = failure(objective)
    assert got[:2] == (kind, message)
    if kind == "user":
        assert all(f"{type(error).__name__}: " in got[2] for error in errors)
        assert files_in(got[2]) == {"test_failures.py"}


def test_long_texts_are_cut_and_odd_ones_made_readable() -> None:
    _, message, traceback = failure_of(ValueError("x" * 100_000))
    assert len(message) <= MESSAGE_CHARS + 3
    assert message.startswith("ValueError: xxx")
    assert len(traceback) <= TRACEBACK_CHARS
    assert failure_of(ValueError("file \udc80"))[1] == "ValueError: file ?"
    assert failure_of(Infeasible())[1] == "infeasible"
