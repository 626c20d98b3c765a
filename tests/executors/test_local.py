"""The local executor: how it is defined; what it does is tested with the runners."""

import math
import os
from typing import Any

import pytest

from metta.sweep.contracts.components import create
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.executors import LocalExecutor


def test_by_default_it_takes_one_slot_a_core_wherever_it_is_made() -> None:
    executor = LocalExecutor()
    assert executor.max_parallel == len(os.sched_getaffinity(0))
    assert (executor.max_trials_per_process, executor.timeout) == (None, None)
    assert executor.spec().options == {}  # another machine has other cores


def test_it_is_the_same_on_the_other_side_of_json() -> None:
    executor = LocalExecutor(3, max_trials_per_process=5, timeout=2.5)
    made = create(LocalExecutor, executor.spec())
    assert (made.max_parallel, made.max_trials_per_process, made.timeout) == (3, 5, 2.5)


@pytest.mark.parametrize("timeout", [0, -1.0, math.nan, math.inf, "1 h", True])
def test_a_timeout_is_a_positive_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(
        DefinitionError, match=f"timeout has to be a positive number of seconds, got {timeout!r}"
    ):
        LocalExecutor(timeout=timeout)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(DefinitionError) as error:
        LocalExecutor(max_parallel=0, max_trials_per_process=-1, timeout=0)
    assert error.value.problems == (
        "max_parallel has to be a whole number of at least 1, got 0",
        "max_trials_per_process has to be a whole number of at least 1, got -1",
        "timeout has to be a positive number of seconds, got 0",
    )
    wrong: dict[str, Any] = {"max_paralel": 2}
    with pytest.raises(DefinitionError, match="max_paralel is unknown; did you mean max_parallel"):
        LocalExecutor(**wrong)
