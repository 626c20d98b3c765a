"""Search spaces: conditions, draws, JSON, and what they say about mistakes."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue, TypeAdapter

from metta.sweep.contracts.distributions import (
    TYPES,
    Choice,
    Constant,
    Distribution,
    Integer,
    LogUniform,
    Uniform,
)
from metta.sweep.contracts.errors import SpaceError
from metta.sweep.contracts.spaces import Condition, SearchSpace

MODELS = SearchSpace(
    {
        "model": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(1, 8),
        "cnn.norm": Choice(["batch", "none"]),
        "batch.momentum": Uniform(0, 1),
        "mlp.width": Integer(16, 1024, log=True),
        "dropout": Uniform(0, 0.5, when={"cnn.layers": [3, 4, 5]}),
        "lr": LogUniform(1e-4, 0.1),
    }
)


def problems(act: Callable[[], object]) -> list[str]:
    with pytest.raises(SpaceError) as error:
        act()
    return list(error.value.problems)


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Spaces in random order, with chains of conditions by prefix and by ``when``."""
    count = draw(st.integers(1, 6))
    parameters: dict[str, Distribution] = {}
    for k in range(count):
        # values of its own for each choice, so that a prefix says which one is meant
        earlier = draw(st.sampled_from(["", *(f"v{j}" for j in range(k))]))
        name = f"{earlier}.p{k}" if earlier else f"p{k}"
        chosen = draw(st.sampled_from([None, *parameters]))
        wanted: list[JsonValue] = [f"v{list(parameters).index(chosen)}", 7] if chosen else []
        values: list[JsonValue] = [f"v{k}", 7]
        parameters[name] = Choice(values, when={chosen: wanted} if chosen else None)
    parameters |= {f"v{k}.x": Uniform(0, k + 1) for k in range(count)}
    names = draw(st.permutations(list(parameters)))
    return SearchSpace({name: parameters[name] for name in names})


@given(spaces(), st.integers(0, 99))
def test_a_sample_is_valid_and_complete(space: SearchSpace, seed: int) -> None:
    params = space.sample(Random(seed))
    space.validate(params)
    assert list(params) == space.active(params)
    assert json.loads(json.dumps(params)) == params


@given(spaces(), st.integers(0, 99))
def test_active_means_that_all_conditions_hold(space: SearchSpace, seed: int) -> None:
    params = space.sample(Random(seed))
    for name in space:
        conditions = space.conditions[name]
        assert (name in params) == all(condition.holds(params) for condition in conditions)


@given(spaces(), st.integers(0, 99))
def test_each_parameter_takes_one_number_of_the_stream(space: SearchSpace, seed: int) -> None:
    params, rng = space.sample(Random(seed)), Random(seed)
    point = {name: rng.random() for name in space}
    assert space.from_unit(point) == params
    assert all(params[name] == space[name].from_unit(point[name]) for name in params)


@given(spaces())
def test_json_and_copies_are_equal(space: SearchSpace) -> None:
    data = json.loads(json.dumps(space.to_json()))
    for copy in (
        SearchSpace.from_json(data),
        SearchSpace.from_json(data["parameters"]),
        SearchSpace.of(dict(space)),
        pickle.loads(pickle.dumps(space)),
        deepcopy(space),
    ):
        assert copy == space
        assert hash(copy) == hash(space)
        assert copy.sample(Random(3)) == space.sample(Random(3))


U = Uniform(0, 1)
MODEL = Choice(["cnn", "mlp"])
LAYERS = Choice([[64, 64], [128], 1, True])


def on(name: str, value: JsonValue = 1) -> Choice:
    """A parameter with a condition."""
    return Choice([1, 2], when={name: value})


ACTIVE: list[tuple[dict[str, Distribution], dict[str, JsonValue], str]] = [
    ({**MODELS}, {}, "model lr"),
    ({**MODELS}, {"model": "mlp"}, "model mlp.width lr"),
    ({**MODELS}, {"model": "cnn"}, "model cnn.layers cnn.norm lr"),
    (
        {**MODELS},
        {"model": "cnn", "cnn.norm": "batch", "cnn.layers": 3},
        "model cnn.layers cnn.norm batch.momentum dropout lr",
    ),
    # values of inactive parameters fulfil nothing
    ({**MODELS}, {"model": "mlp", "cnn.norm": "batch", "cnn.layers": 3}, "model mlp.width lr"),
    # a prefix that is nobody's value means nothing; one that is may have dots
    ({"trainer.lr": U, "m": MODEL}, {}, "trainer.lr m"),
    ({"m": Choice(["a.b", "c"]), "a.b.x": U}, {"m": "a.b"}, "m a.b.x"),
    ({"m": Choice(["a.b", "c"]), "a.b.x": U}, {"m": "c"}, "m"),
    # prefix and `when` both count
    ({"m": MODEL, "n": Choice([1, 2]), "cnn.x": on("n")}, {"m": "cnn", "n": 1}, "m n cnn.x"),
    ({"m": MODEL, "n": Choice([1, 2]), "cnn.x": on("n")}, {"m": "cnn", "n": 2}, "m n"),
    ({"m": MODEL, "n": Choice([1, 2]), "cnn.x": on("n")}, {"m": "mlp", "n": 1}, "m n"),
    # `when` about the same choice replaces the prefix, and says which of two it means
    ({"m": MODEL, "cnn.x": on("m", ["cnn", "mlp"])}, {"m": "mlp"}, "m cnn.x"),
    ({"m": MODEL, "n": MODEL, "cnn.x": on("n", "cnn")}, {"m": "mlp", "n": "cnn"}, "m n cnn.x"),
    ({"m": MODEL, "n": MODEL, "cnn.x": on("n", "cnn")}, {"m": "cnn", "n": "mlp"}, "m n"),
    # a list may be a value itself
    ({"l": LAYERS, "x": on("l", [64, 64])}, {"l": [64, 64]}, "l x"),
    ({"l": LAYERS, "x": on("l", [64, 64])}, {"l": [128]}, "l"),
    ({"l": LAYERS, "x": on("l", [[128], 1])}, {"l": [128]}, "l x"),
    # True is not 1
    ({"l": LAYERS, "x": on("l", True)}, {"l": True}, "l x"),
    ({"l": LAYERS, "x": on("l", True)}, {"l": 1}, "l"),
]


@pytest.mark.parametrize(("parameters", "params", "names"), ACTIVE)
def test_conditions(parameters: dict[str, Distribution], params: dict[str, JsonValue], names: str) -> None:
    assert SearchSpace(parameters).active(params) == names.split()


def test_conditions_can_be_asked_for() -> None:
    assert MODELS.conditions["lr"] == []
    assert MODELS.conditions["batch.momentum"] == [Condition("cnn.norm", ("batch",))]
    assert MODELS.conditions["dropout"] == [Condition("cnn.layers", (3, 4, 5))]


def test_a_space_is_a_mapping_that_cannot_be_changed_from_outside() -> None:
    values: list[JsonValue] = [[1], [2]]
    given_: dict[str, Distribution] = {"a": Choice(values), "b": Constant(1)}
    space = SearchSpace(given_)
    given_["c"] = Constant(2)
    values.append(3)
    inner = values[0]
    assert isinstance(inner, list)
    inner.append(4)
    assert list(space) == ["a", "b"] == list(space.names)
    assert len(space) == 2
    assert "c" not in space
    assert space["a"] == Choice([[1], [2]])
    assert repr(space) == "SearchSpace({'a': Choice([[1], [2]]), 'b': Constant(1)})"
    with pytest.raises(KeyError):
        space["c"]


def test_equality_knows_order_and_types() -> None:
    a, b = Uniform(0, 1), Uniform(0, 2)
    assert SearchSpace({"a": a, "b": b}) == SearchSpace({"a": a, "b": b})
    assert SearchSpace({"a": a, "b": b}) != SearchSpace({"b": b, "a": a})
    assert SearchSpace({"a": a}) != {"a": a}


def test_samples_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from random import Random; from metta.sweep.contracts.spaces import SearchSpace\n"
        f"space = SearchSpace.from_json({MODELS.to_json()!r})\n"
        "rng = Random(5); print([space.sample(rng) for _ in range(20)], space.conditions)"
    )
    outputs = set()
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        outputs.add(subprocess.check_output([sys.executable, "-c", code], env=env))
    assert len(outputs) == 1


# what validate says


def test_validate_tells_all_mistakes() -> None:
    params: Any = {"modle": "cnn", "model": "mlp", "cnn.layers": 3, "dropout": 0.1, "lr": 1}
    assert problems(lambda: MODELS.validate(params)) == [
        "modle is unknown; did you mean model?",
        "cnn.layers is inactive, leave it out: it needs model='cnn', but got 'mlp'",
        "mlp.width is missing; it is Integer(16, 1024, log=True)",
        "dropout is inactive, leave it out: it needs"
        " cnn.layers=3 or cnn.layers=4 or cnn.layers=5, but cnn.layers is inactive itself",
        "lr must be from 0.0001 to 0.1, got 1",
    ]
    with pytest.raises(SpaceError, match="5 mistakes in the parameters:\n- modle is unknown"):
        MODELS.validate(params)


def test_validate_tells_of_a_missing_choice_and_of_wrong_types() -> None:
    assert problems(lambda: MODELS.validate({"cnn.layers": 3, "lr": True})) == [
        "model is missing; it is Choice(['cnn', 'mlp'])",
        "cnn.layers is inactive, leave it out: it needs model='cnn', but model is missing",
        "lr must be a finite number, got True",
    ]


def test_a_point_needs_all_names() -> None:
    space = SearchSpace({"a": Uniform(0, 1), "b": Uniform(0, 1)})
    assert problems(lambda: space.from_unit({"a": 0.5})) == ["b is missing"]


# what the constructor says

NESTED = "a nested dict is not a distribution; write full names, such as 'trainer.lr'"
BAD_NAME = "a name must be letters, digits, _, - and /, with dots between parts"
CONSTRAINTS = "constraints are not supported yet"
CYCLE = "conditions form a cycle, drop one of them"


def bare(value: str, python: str, in_json: str) -> str:
    """What is said about a bare value."""
    return f"a: {value} is not a distribution; write {python}, or in JSON {in_json}"


MISTAKES: list[tuple[Any, str]] = [
    ({}, "it has no parameter; give it one, such as {'lr': LogUniform(1e-4, 0.1)}"),
    ([1], "a space must be a dict of distributions, got [1]"),
    ({"a": [1]}, bare("[1]", "Choice([1])", '{"type": "choice", "values": [1]}')),
    ({"a": (0, 1)}, bare("(0, 1)", "Choice([0, 1])", '{"type": "choice", "values": [0, 1]}')),
    ({"a": "x"}, bare("'x'", "Constant('x')", '{"type": "constant", "value": "x"}')),
    ({"a": None}, bare("None", "Constant(None)", '{"type": "constant", "value": null}')),
    (
        {"a": {1}},
        f"a: {{1}} is not a distribution; use one of {', '.join(cls.__name__ for cls in TYPES.values())}",
    ),
    ({"a": Uniform}, "a: Uniform is a class; call it with arguments"),
    ({"trainer": {"lr": U}}, f"trainer: {NESTED}"),
    (
        {"a": {"type": "uniform", "low": 0, "high": 1}},
        "a: a dict is not a distribution; SearchSpace.from_json reads spaces in JSON",
    ),
    *(({name: U}, f"{name}: {BAD_NAME}, got {name!r}") for name in ("", "a b", "a..b", ".a", 3)),
    ({"a": Uniform(2, 1)}, "a: low must be at most high, got low=2 and high=1"),
    (
        {"model": MODEL, "a": on("modle")},
        "a: when refers to 'modle', which is unknown; did you mean model?",
    ),
    (
        {"model": MODEL, "a": on("model", ["cnn", "rnn"])},
        "a: in when, model must be one of ['cnn', 'mlp'], got 'rnn'",
    ),
    (
        {"lr": U, "a": on("lr", 0.5)},
        "a: in when, lr is continuous; a condition needs separate values",
    ),
    (
        {"model": MODEL, "a": on("model", [])},
        "a: when={'model': []} is never true; name at least one value",
    ),
    (
        {"a": Uniform(0, 1, when="cnn")},  # type: ignore[arg-type]
        "a: when must be a dict of names and values, got 'cnn'",
    ),
    (
        {"enc": MODEL, "dec": Choice(["cnn", "rnn"]), "cnn.x": U, "cnn.y": U, "mlp.x": U},
        "cnn.x, cnn.y: the prefix 'cnn' is a value of enc and dec;"
        " say which is meant, as in when={'enc': 'cnn'}",
    ),
    ({"a": on("b"), "b": on("a")}, f"{CYCLE}: a needs b needs a"),
    ({"a": on("a")}, f"{CYCLE}: a needs a"),
    ({"cnn.kind": MODEL}, f"{CYCLE}: cnn.kind needs cnn.kind"),
]


@pytest.mark.parametrize(("parameters", "expected"), MISTAKES, ids=lambda x: str(x)[:60])
def test_mistakes_are_told(parameters: Any, expected: str) -> None:
    assert problems(lambda: SearchSpace(parameters)) == [expected]


def test_constraints_are_refused_for_now() -> None:
    assert problems(lambda: SearchSpace({"a": U}, ["a < 1"])) == [
        f"{CONSTRAINTS}, got ['a < 1']; raise Infeasible in the objective instead"
    ]


def test_all_cycles_are_told() -> None:
    parameters = {"a": on("b"), "b": on("c"), "c": on("a"), "d": on("a"), "e": on("e")}
    assert problems(lambda: SearchSpace(parameters)) == [
        f"{CYCLE}: a needs b needs c needs a",
        f"{CYCLE}: e needs e",
    ]


def test_all_mistakes_are_told_at_once() -> None:
    bad: Any = {"lr": LogUniform(0, 1, scale=0), "l": [1], "a b": Uniform(2, 1, when={"lrr": 1})}
    with pytest.raises(SpaceError) as error:
        SearchSpace(bad, ["lr < 1"])
    assert len(error.value.problems) == 7
    assert str(error.value).startswith(
        "7 mistakes in the search space:\n"
        "- lr: low must be above 0 on a log scale, got 0\n"
        "- lr: scale must be a number above 0, got 0\n"
    )


# JSON


def test_from_json_tells_all_mistakes() -> None:
    data: Any = {
        "parameters": {
            "z": {"type": "unifrom", "low": 1},
            "b": {"low": 1, "high": 2},
            "c": {"type": "integer", "lo": 1, "high": 3},
            "d": {"type": "uniform", "low": 2, "high": 1, "stp": 3},
            "trainer": {"lr": {"type": "uniform", "low": 0, "high": 1}},
            "a": [1],
            "g": {"type": "uniform", "low": 0, "high": 1, "when": {"z": 3, "x": 1}},
            "h": {"type": 3},
            "i": {"type": "constant", "value": 1, "center": 1},
        },
        "constraint": [],
        "constraints": ["b < 1"],
    }
    names = ", ".join(sorted(TYPES))
    assert problems(lambda: SearchSpace.from_json(data)) == [
        "constraint is unknown; did you mean constraints?",
        "z: type 'unifrom' is unknown; did you mean uniform?",
        f"b: type is missing in {{'low': 1, 'high': 2}}. Known: {names}",
        "c: lo is unknown; did you mean low?",
        "c: low is missing",
        "d: stp is unknown; did you mean step?",
        "d: low must be at most high, got low=2 and high=1",
        f"trainer: {NESTED}",
        bare("[1]", "Choice([1])", '{"type": "choice", "values": [1]}'),
        f"h: type 3 is unknown. Known: {names}",
        "i: center is unknown. Known: value, when",
        "g: when refers to 'x', which is unknown. Known: a, b, c, d, g, h, i, trainer, z",
        f"{CONSTRAINTS}, got ['b < 1']; raise Infeasible in the objective instead",
    ]


@pytest.mark.parametrize("data", [None, 3, "x", [1]])
def test_what_is_no_space_at_all(data: Any) -> None:
    for read in (SearchSpace.from_json, SearchSpace.of):
        with pytest.raises(SpaceError, match="a space must be a dict of distributions, got"):
            read(data)


def test_a_parameter_may_be_called_parameters() -> None:
    json_form: Any = {"parameters": {"type": "uniform", "low": 0, "high": 1}}
    assert SearchSpace.from_json(json_form) == SearchSpace({"parameters": Uniform(0, 1)})
    odd = SearchSpace({"parameters": Uniform(0, 1), "type": Choice(["a"])})
    assert SearchSpace.from_json(odd.to_json()) == odd
    assert SearchSpace.of(dict(odd)) == odd


# pydantic


class Model(BaseModel):
    space: SearchSpace


def test_a_field_takes_each_form_and_is_written_as_json() -> None:
    for form in (MODELS, dict(MODELS), MODELS.to_json(), MODELS.to_json()["parameters"]):
        model = Model.model_validate({"space": form})
        assert model.space == MODELS
        assert model.model_dump(mode="json") == {"space": MODELS.to_json()}
        assert Model.model_validate_json(model.model_dump_json()) == model
    assert Model(space=MODELS).space is MODELS is SearchSpace.of(MODELS)


def test_a_space_error_in_a_field_stays_one() -> None:
    assert problems(lambda: Model.model_validate({"space": {"a": Uniform(2, 1)}})) == [
        "a: low must be at most high, got low=2 and high=1"
    ]


def test_a_field_has_a_json_schema() -> None:
    assert TypeAdapter(Model).json_schema()["properties"]["space"]["type"] == "object"


def test_values_that_are_fixed_change_nothing_else_of_a_sample() -> None:
    space = SearchSpace({"a": Uniform(0, 1), "model": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 4)})
    for seed in range(8):
        free = space.sample(Random(seed))
        fixed = space.sample(Random(seed), {"model": "cnn", "cnn.layers": 2})
        assert fixed == {"a": free["a"], "model": "cnn", "cnn.layers": 2}
        assert space.sample(Random(seed), {"a": 0.5}) == {**free, "a": 0.5}
        assert "cnn.layers" not in space.sample(Random(seed), {"model": "mlp"})


def test_some_parameters_alone_are_checked_like_all_of_them() -> None:
    space = SearchSpace({"a": Uniform(0, 1), "model": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 4)})
    space.validate({}, partial=True)
    space.validate({"cnn.layers": 2, "model": "cnn"}, partial=True)
    with pytest.raises(SpaceError) as caught:
        space.validate({"a": 2, "cnn.layers": 9, "b": 1}, partial=True)
    assert caught.value.problems == (
        "b is unknown. Known: a, cnn.layers, model",
        "a must be from 0 to 1, got 2",
        "cnn.layers is inactive, leave it out: it needs model='cnn', but model is missing",
    )
