"""Sweeps: strict JSON of people, lenient JSON of machines, and what makes a definition another one."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.sweeps import SweepInput, SweepSpec
from metta.sweep.contracts.trials import Resources

UNIFORM = {"type": "uniform", "low": 0, "high": 1}
CHOICE = {"type": "choice", "values": [1, 2]}
WRITTEN: dict[str, Any] = {"objective": "tasks:train", "search_space": {"x": UNIFORM, "y": CHOICE}}
GROWS = {"max_attempts": 2, "on_oom": "grow", "max_memory_gib": 8}


def problems(written: dict[str, Any]) -> list[str]:
    with pytest.raises(DefinitionError) as error:
        SweepInput.model_validate(written)
    assert error.value.subject == "the sweep's JSON"
    return list(error.value.problems)


def spec(**changes: Any) -> SweepSpec:
    return SweepSpec.model_validate(WRITTEN | changes)


# what people write


def test_short_forms_of_people_become_full_ones() -> None:
    written = WRITTEN | {
        "optimizer": "random",
        "scheduler": {"type": "batch", "batch_size": 4},
        "executor": {"type": "local", "options": {"max_parallel": 2}},
        "budget": 20,
        "retry": {"max_attempts": 3},
        "resources": {"cpu": 2},
    }
    read = SweepInput.model_validate(written)
    assert read.optimizer == ComponentSpec(type="random")
    assert read.scheduler == ComponentSpec(type="batch", options={"batch_size": 4})
    assert read.executor == ComponentSpec(type="local", options={"max_parallel": 2})
    assert (read.budget, read.retry) == (Budget(trials=20), RetryPolicy(max_attempts=3))
    assert read.resources == Resources(cpu=2)
    assert SweepInput.model_validate(written | {"budget": {"trials": 20}}) == read


def test_every_mistake_of_people_is_told_at_once() -> None:
    assert problems(
        {
            "search_space": {"x": {"type": "unifrm", "low": 0, "high": 1}, "y": 3},
            "optimiser": "random",
            "scheduler": {"type": "batch", "options": {}, "batch_size": 3},
            "executor": 5,
            "goal": "max",
            "seed": "abc",
            "timeout": -1,
            "retry": {"max_attempt": 2},
            "resources": {"cpus": 2},
            "budget": {"trails": 3, "hours": 0},
            "max_failures": 0,
        }
    ) == [
        "objective is missing",
        "search_space: x: type 'unifrm' is unknown; did you mean uniform?",
        "search_space: y: 3 is not a distribution;"
        ' write Constant(3), or in JSON {"type": "constant", "value": 3}',
        "scheduler.batch_size is unknown. Known: options, type",
        'executor: write a name, or an object such as {"type": "batch", "batch_size": 8}, got 5',
        "goal: input should be 'maximize' or 'minimize', got 'max'",
        "seed: input should be a valid integer, unable to parse string as an integer, got 'abc'",
        "retry.max_attempt is unknown; did you mean max_attempts?",
        "timeout: input should be greater than 0, got -1",
        "resources.cpus is unknown; did you mean cpu?",
        "max_failures: input should be greater than or equal to 1, got 0",
        "budget.hours: input should be greater than 0, got 0",
        "budget.trails is unknown; did you mean trials?",
        "optimiser is unknown; did you mean optimizer?",
    ]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"search_space": 5}, "search_space: a space must be a dict of distributions, got 5"),
        (
            {"search_space": {}},
            "search_space: it has no parameter; give it one, such as {'lr': LogUniform(1e-4, 0.1)}",
        ),
        (
            {"budget": "many"},
            "budget: write a number of trials, or limits such as {\"hours\": 2}, got 'many'",
        ),
        ({"optimizer": {"options": {}}}, "optimizer.type is missing"),
        (
            {"retry": GROWS},
            'resources: say memory_gib: retry has on_oom="grow", and there is nothing to grow',
        ),
        (
            {"retry": GROWS, "resources": {"memory_gib": 8}},
            "resources: memory_gib has to leave room to grow, got 8, and retry has max_memory_gib=8",
        ),
    ],
)
def test_a_mistake_is_told_where_it_is(written: dict[str, Any], problem: str) -> None:
    assert problems(WRITTEN | written) == [problem]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (
            {"initial_points": [{"x": 2}, {}, {"z": 1, "y": 3}, {"x": "a"}]},
            [
                "initial_points: point 0: x must be from 0 to 1, got 2",
                "initial_points: point 2: z is unknown. Known: x, y",
                "initial_points: point 2: y must be one of [1, 2], got 3",
                "initial_points: point 3: x must be a finite number, got 'a'",
            ],
        ),
        (
            {"initial_points": {"x": 1}},
            ["initial_points: write a list of points, such as [{\"lr\": 0.1}], got {'x': 1}"],
        ),
        ({"initial_points": [3]}, ["initial_points.0: input should be a valid dictionary, got 3"]),
        (
            {"initial_points": [{"x": 5}], "search_space": {}},
            ["search_space: it has no parameter; give it one, such as {'lr': LogUniform(1e-4, 0.1)}"],
        ),
        (
            {"warm_start": 3},
            ["warm_start: write the name of a sweep, the path of a ledger, or a list of them, got 3"],
        ),
        ({"warm_start": ["a", None]}, ["warm_start.1: input should be a valid string, got None"]),
        ({"warm_strat": "a"}, ["warm_strat is unknown; did you mean warm_start?"]),
    ],
)
def test_mistakes_in_what_it_begins_with_are_told(written: dict[str, Any], found: list[str]) -> None:
    assert problems(WRITTEN | written) == found


def test_memory_may_grow_where_somebody_states_it() -> None:
    assert spec(retry=GROWS, resources={"memory_gib": 4}).resources.memory_gib == 4
    assert spec(retry=GROWS, scheduler="mine:Sizes").resources.memory_gib is None  # it may, trial by trial


def test_a_point_that_needs_another_parameter_has_to_name_it() -> None:
    space = {"model": {"type": "choice", "values": ["cnn", "mlp"]}, "cnn.layers": CHOICE}
    assert problems(WRITTEN | {"search_space": space, "initial_points": [{"cnn.layers": 1}]}) == [
        "initial_points: point 0: cnn.layers is inactive, leave it out: it needs model='cnn', but model is"
        " missing"
    ]
    spec(search_space=space, initial_points=[{"cnn.layers": 1, "model": "cnn"}, {"model": "mlp"}])


@pytest.mark.parametrize(("written", "read"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())])
def test_a_warm_start_is_one_source_or_several(written: object, read: tuple[str, ...]) -> None:
    assert spec(warm_start=written).warm_start == read


def test_json_of_people_stays_what_it_was_when_a_worker_hands_it_on() -> None:
    read = SweepInput.model_validate(WRITTEN | {"budget": 3})
    handed_on = read.model_copy(update={"control": Control(run="r", version=2), "resume": True})
    assert SweepInput.model_validate_json(handed_on.model_dump_json()) == handed_on


# what machines write


def test_fields_of_a_newer_program_are_passed_over_at_any_depth() -> None:
    newer = WRITTEN | {"client": "metta.sweep", "mood": "x", "budget": {"trials": 3, "joules": 5}}
    assert SweepInput.model_validate(newer) == SweepInput.model_validate(
        WRITTEN | {"client": "metta.sweep", "budget": {"trials": 3}}
    )


def test_wrong_values_of_a_program_are_still_refused() -> None:
    with pytest.raises(ValueError, match="max_failures"):
        SweepInput.model_validate(WRITTEN | {"client": "metta.sweep", "max_failures": 0})


def test_the_definition_alone_is_what_the_session_gets() -> None:
    read = SweepInput.model_validate(WRITTEN | {"seed": 7, "budget": 3, "retry": {"max_attempts": 2}})
    assert type(read.spec) is SweepSpec
    assert read.spec == spec(seed=7, retry={"max_attempts": 2})


def test_the_engine_reads_the_input_like_any_json() -> None:
    adapter = TypeAdapter(SweepInput)
    read = SweepInput.model_validate(WRITTEN)
    assert adapter.validate_json(adapter.dump_json(read)) == read
    with pytest.raises(DefinitionError, match="objektive is unknown; did you mean objective"):
        adapter.validate_json('{"objektive": "a:b", "search_space": {}}')


# another definition


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"executor": "local", "timeout": 5, "retry": {"max_attempts": 9}, "max_failures": 1},
        {"resources": {"cpu": 2}},
        {"warm_start": "another"},
        {"metric": "loss"},
        {"metric": "loss", "goal": "maximize"},
        {"search_space": {"parameters": WRITTEN["search_space"], "constraints": []}},
    ],
)
def test_how_trials_run_and_what_was_left_open_may_be_said_later(changes: dict[str, Any]) -> None:
    assert spec().differences(spec(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({"objective": "tasks:test"}, ["objective was 'tasks:train' and is now 'tasks:test'"]),
        ({"seed": 7}, ["seed was None and is now 7"]),
        ({"initial_points": [{"x": 1}]}, ["initial_points was [] and is now [{'x': 1}]"]),
        ({"scheduler": "batch"}, ["scheduler.type was 'asynchronous' and is now 'batch'"]),
        (
            {"optimizer": {"type": "random", "seed": 1}},
            ["optimizer.options.seed is new: 1"],
        ),
        (
            {"search_space": {"x": UNIFORM | {"high": 2}, "z": CHOICE}},
            [
                "search_space.parameters.x.high was 1 and is now 2",
                "search_space.parameters.y was {'type': 'choice', 'values': [1, 2]} and is now gone",
                "search_space.parameters.z is new: {'type': 'choice', 'values': [1, 2]}",
            ],
        ),
        (
            {"search_space": {"x": UNIFORM, "y": {"type": "choice", "values": [True, 2]}}},
            ["search_space.parameters.y.values was [1, 2] and is now [True, 2]"],
        ),
        (
            {"search_space": {"y": CHOICE, "x": UNIFORM}},
            ["search_space has its parameters in another order"],
        ),
    ],
)
def test_what_is_searched_may_not_change(changes: dict[str, Any], differences: list[str]) -> None:
    assert spec().differences(spec(**changes)) == differences


@pytest.mark.parametrize(
    ("later", "differences"),
    [
        ({"metric": "loss", "goal": "maximize"}, ["goal was 'minimize' and is now 'maximize'"]),
        ({"metric": "error", "goal": "minimize"}, ["metric was 'loss' and is now 'error'"]),
        ({"goal": "minimize"}, ["metric was 'loss' and is now None"]),
        ({"metric": "loss", "goal": "minimize"}, []),
    ],
)
def test_a_metric_and_goal_that_were_said_stay(later: dict[str, Any], differences: list[str]) -> None:
    assert spec(metric="loss", goal="minimize").differences(spec(**later)) == differences


@pytest.mark.parametrize(
    ("before", "after"),
    [("/a/tasks.py:train", "/b/tasks.py:train"), ("value:1:train", "value:2:train")],
)
def test_a_moved_script_and_edited_code_are_the_same_definition(before: str, after: str) -> None:
    assert spec(objective=before).differences(spec(objective=after)) == []
