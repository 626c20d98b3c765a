"""What holds for every executor: each one that is registered is tested here."""

from pathlib import Path

import pytest

from metta.sweep.contracts.components import ComponentSpec, create, load
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.executors.base import Executor
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.executors.registry import EXECUTORS
from metta.sweep.testing import ExecutorSubject, executor_conformance
from metta.sweep.testing.executors import Check
from tests.executors.jobs import kill_supervisor

each = pytest.mark.parametrize("name", sorted(EXECUTORS))


@each
def test_its_class_is_where_the_registry_says(name: str) -> None:
    kind = load(EXECUTORS[name])
    assert issubclass(kind, Executor)
    assert kind().spec() == ComponentSpec(type=name)


@each
def test_it_says_how_many_trials_may_run_at_once(name: str) -> None:
    assert create(Executor, ComponentSpec(type=name)).max_parallel >= 1
    assert create(Executor, ComponentSpec(type=name, options={"max_parallel": 3})).max_parallel == 3


@each
@pytest.mark.parametrize("value", [0, 1.5, True, "many"])
def test_a_limit_that_is_no_count_is_refused(name: str, value: int | str) -> None:
    message = f"max_parallel has to be a whole number of at least 1, got {value!r}"
    with pytest.raises(DefinitionError, match=message):
        create(Executor, ComponentSpec(type=name, options={"max_parallel": value}))


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(DefinitionError) as error:
        create(Executor, ComponentSpec(type="slurn"))
    assert (
        str(error.value) == f"the executor: unknown executor 'slurn'. Known: {', '.join(sorted(EXECUTORS))}"
    )


@pytest.mark.parametrize("check", executor_conformance)
def test_jobs_on_this_machine_keep_the_promises_of_an_executor(check: Check, tmp_path: Path) -> None:
    check(ExecutorSubject(LocalExecutor, tmp_path, destroy=kill_supervisor))
