from pathlib import Path

import pytest

from metta.sweep import DefinitionError, Resources, RetryPolicy
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.defaults import Defaults
from metta.sweep.contracts.models import parse
from metta.sweep.contracts.sweeps import SweepSpec


def test_a_default_is_a_field_of_a_sweep_with_its_own_form() -> None:
    written = {
        "objective": "lab.digits:train",
        "optimizer": "random",
        "scheduler": {"type": "batch", "batch_size": 8},
        "executor": {"type": "local", "options": {"max_parallel": 2}},
        "metric": "loss",
        "goal": "minimize",
        "retry": {"max_attempts": 3, "initial": 0},
        "timeout": 5,
        "resources": {"cpu": 2},
        "max_failures": 9,
    }
    assert set(written) == set(Defaults.model_fields)
    said = parse(Defaults, written, "the defaults").said
    spec = SweepSpec.model_validate({"search_space": {"x": {"type": "constant", "value": 1}}} | written)
    assert said == {name: getattr(spec, name) for name in written}


def test_a_bare_number_of_attempts_is_a_policy_and_what_is_not_said_is_open() -> None:
    assert parse(Defaults, {"retry": 3}, "the defaults").said == {"retry": RetryPolicy(max_attempts=3)}
    assert Defaults().said == {}


def test_every_mistake_is_told_at_once() -> None:
    wrong = {
        "objective": "train",
        "executor": 3,
        "goal": "max",
        "retry": 0,
        "timeout": float("inf"),
        "resources": {"cpus": 1},
        "max_failures": 0,
        "metrik": "loss",
    }
    with pytest.raises(DefinitionError) as caught:
        parse(Defaults, wrong, "the file")
    assert str(caught.value).splitlines()[0] == "8 mistakes in the file:"
    for part in (
        "objective: 'train' names nothing that can be imported; write 'package.module:name'",
        'executor: write a name, or an object such as {"type": "batch", "batch_size": 8}, got 3',
        "goal: input should be 'maximize' or 'minimize', got 'max'",
        "retry.max_attempts: input should be greater than or equal to 1, got 0",
        "timeout: input should be a finite number, got inf",
        "resources.cpus is unknown; did you mean cpu?",
        "max_failures: input should be greater than or equal to 1, got 0",
        "metrik is unknown; did you mean metric?",
    ):
        assert part in str(caught.value)


def test_scripts_are_found_from_a_folder_and_nothing_else_changes() -> None:
    said = Defaults(
        objective="tasks/digits.py:train",
        optimizer=ComponentSpec(type="mine.py:Mine", options={"rate": 1}),
        scheduler=ComponentSpec(type="lab.halving:Halving"),
        executor=ComponentSpec(type="local"),
        resources=Resources(cpu=2),
    )
    assert said.within(Path("/lab")).said == said.said | {
        "objective": "/lab/tasks/digits.py:train",
        "optimizer": ComponentSpec(type="/lab/mine.py:Mine", options={"rate": 1}),
    }
    assert Defaults(objective="/far/digits.py:train").within(Path("/lab")).objective == "/far/digits.py:train"
