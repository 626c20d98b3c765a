"""Distributions: what they draw, what they accept, and what they say about mistakes."""

import math
import pickle
from copy import deepcopy
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from metta.sweep.contracts.distributions import (
    TYPES,
    Choice,
    Constant,
    Distribution,
    Integer,
    LogitUniform,
    LogNormal,
    LogUniform,
    Normal,
    Ordinal,
    Pow2,
    Uniform,
    same,
)
from metta.sweep.contracts.errors import SpaceError
from metta.sweep.contracts.spaces import SearchSpace

NAN, INF = float("nan"), float("inf")

unit = st.floats(0, 1, exclude_max=True)
number = st.floats(-1e6, 1e6)
positive = st.floats(1e-9, 1e9)
scalar = st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | st.text(max_size=4)
json_value = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


uniforms = st.tuples(number, number).map(lambda pair: Uniform(min(pair), max(pair)))
log_uniforms = st.tuples(positive, positive).map(lambda pair: LogUniform(min(pair), max(pair)))


@st.composite
def stepped(draw: st.DrawFn) -> Uniform:
    digits = draw(st.integers(0, 5))
    low, step = draw(st.integers(-999, 999)), draw(st.integers(1, 999))
    span = draw(st.integers(step, 100 * step))
    scale = 10**digits
    return Uniform(low / scale, (low + span) / scale, step=step / scale)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -(10**6), 10**6))
    step = draw(st.integers(1, 100))
    cells = draw(st.integers(0, 10**6))
    rest = draw(st.integers(0, step - 1)) if cells else 0
    return Integer(low, low + cells * step + rest, step=step, log=log)


def _differ(values: list[JsonValue]) -> bool:
    return not any(same(v, w) for k, v in enumerate(values) for w in values[:k])


lists = st.lists(json_value, min_size=1, max_size=6).filter(_differ)
choices = lists.map(Choice) | lists.map(Ordinal)
shares = st.floats(1e-6, 1 - 1e-6)
logit_uniforms = st.tuples(shares, shares).map(lambda pair: LogitUniform(min(pair), max(pair)))
powers = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: Pow2(1 << min(p), 1 << max(p)))
spreads = st.floats(0.01, 10)
normals = st.builds(Normal, st.floats(-100, 100), spreads) | st.builds(
    lambda mean, sd, below, above: Normal(mean, sd, mean - below * sd, mean + above * sd),
    st.floats(-100, 100),
    spreads,
    st.floats(0, 3),
    st.floats(0.01, 3),
)
log_normals = st.builds(LogNormal, st.floats(-5, 5), st.floats(0.01, 3))
bells = normals | log_normals
constants = json_value.map(Constant)
continuous = uniforms | log_uniforms | logit_uniforms | bells
distributions = continuous | stepped() | integers() | powers | choices | constants
separate = stepped() | integers() | powers | choices


@given(distributions, unit)
def test_every_draw_is_a_value_in_native_types(distribution: Distribution, u: float) -> None:
    assert distribution.problems() == []
    value = distribution.from_unit(u)
    assert distribution.check(value) is None
    if isinstance(distribution, Integer | Pow2):
        assert type(value) is int
    elif not isinstance(distribution, Choice | Ordinal | Constant):
        assert type(value) is float


@given(stepped(), unit)
def test_a_stepped_draw_is_the_float_that_one_would_write(uniform: Uniform, u: float) -> None:
    value = uniform.from_unit(u)
    assert isinstance(value, float)
    assert value == float(f"{value:.5f}")
    low, step, exact = (Fraction(str(x)) for x in (uniform.low, uniform.step, value))
    assert (exact - low) % step == 0


@given(separate, st.data())
def test_separate_values_come_back_from_the_centre_of_their_cell(
    distribution: Distribution, data: st.DataObject
) -> None:
    value = distribution.from_unit(data.draw(unit))
    u = distribution.to_unit(value)
    assert 0 <= u < 1
    assert same(distribution.from_unit(u), value)


@given(uniforms | log_uniforms, unit)
def test_continuous_values_come_back(distribution: Uniform | LogUniform, u: float) -> None:
    value: Any = distribution.from_unit(u)
    slack = 1e-9 * (distribution.high - distribution.low)
    back = distribution.from_unit(distribution.to_unit(value))
    assert back == pytest.approx(value, rel=1e-9, abs=slack)


@given(bells | logit_uniforms.filter(lambda d: d.high - d.low > 1e-3), st.floats(0.001, 0.999))
def test_points_come_back_where_floats_can_tell_them_apart(distribution: Distribution, u: float) -> None:
    assert distribution.to_unit(distribution.from_unit(u)) == pytest.approx(u, abs=1e-6)


@given(continuous | stepped() | integers() | powers, unit, unit)
def test_numbers_rise_with_the_point(distribution: Distribution, u: float, v: float) -> None:
    low, high = (float(str(distribution.from_unit(x))) for x in sorted((u, v)))
    assert low <= high + 1e-12 * max(abs(low), abs(high))


@given(distributions)
def test_json_and_copies_are_equal(distribution: Distribution) -> None:
    data = distribution.to_json()
    again = SearchSpace.from_json({"p": data})["p"]
    for copy in (again, pickle.loads(pickle.dumps(distribution)), deepcopy(distribution)):
        assert copy == distribution
        assert hash(copy) == hash(distribution)
        assert copy.to_json() == data


def test_json_leaves_out_defaults() -> None:
    assert LogUniform(1e-4, 0.1).to_json() == {"type": "log_uniform", "low": 1e-4, "high": 0.1}
    full = Integer(1, 9, step=2, log=True, center=3, scale=0.5, when={"m": ["a", "b"]})
    assert list(full.to_json().items()) == [
        ("type", "integer"),
        ("low", 1),
        ("high", 9),
        ("step", 2),
        ("log", True),
        ("center", 3),
        ("scale", 0.5),
        ("when", {"m": ["a", "b"]}),
    ]
    assert Uniform(0, 1, when={"m": ("a", 1)}).to_json()["when"] == {"m": ["a", 1]}  # type: ignore[dict-item]
    assert Constant(None).to_json() == {"type": "constant", "value": None}


def test_repr_can_be_pasted() -> None:
    given_ = [
        Uniform(0, 1, step=0.1),
        LogUniform(1e-4, 0.1, center=0.01, scale=0.5),
        Integer(1, 9, log=True, when={"m": "a"}),
        Choice(["a", [1, None]]),
        Constant(3),
    ]
    assert repr(given_[1]) == "LogUniform(0.0001, 0.1, center=0.01, scale=0.5)"
    assert [eval(repr(distribution)) for distribution in given_] == given_


def test_equality_is_that_of_json() -> None:
    assert Uniform(0, 1) == Uniform(0.0, 1.0)
    assert hash(Uniform(0, 1)) == hash(Uniform(0.0, 1.0))
    assert Choice([1, 2]) != Choice([True, 2])
    assert Choice([{"a": 1, "b": [2]}]) == Choice([{"b": [2.0], "a": 1}])
    assert Uniform(1, 2) != LogUniform(1, 2)
    assert Uniform(1, 2) != "Uniform(1, 2)"


def test_known_quantiles() -> None:
    assert Uniform(-1, 3).from_unit(0.5) == 1.0
    assert Uniform(0, 1, step=0.1).from_unit(0.3) == 0.3
    assert Uniform(0, 1, step=0.3).from_unit(0.999) == 0.9
    assert LogUniform(1e-4, 1).from_unit(0.5) == pytest.approx(1e-2, rel=1e-12)
    assert [Integer(1, 7, step=3).from_unit(u) for u in (0, 0.4, 0.99)] == [1, 4, 7]
    assert [Choice(["a", "b", "c"]).from_unit(u) for u in (0, 0.4, 0.99)] == ["a", "b", "c"]


def test_quantiles_of_bells_and_shares() -> None:
    assert Normal(10, 2).from_unit(0.5) == 10
    assert Normal(0, 1).from_unit(0.975) == pytest.approx(1.959964)
    assert Normal(0, 1, low=0).from_unit(0.5) == pytest.approx(0.6744898)  # the median of half a bell
    assert LogNormal(0, 1).from_unit(0.5) == pytest.approx(1)
    assert LogNormal(2, 0.5).from_unit(0.975) == pytest.approx(math.exp(2 + 0.5 * 1.959964))
    assert LogitUniform(0.01, 0.99).from_unit(0.5) == pytest.approx(0.5)
    tenths = [LogitUniform(0.9, 0.999).from_unit(u) for u in (0, 0.5, 1)]
    assert tenths == pytest.approx([0.9, 0.98956, 0.999], abs=1e-5)  # odds of 9, 94.8 and 999
    assert [Pow2(16, 256).from_unit(u) for u in (0, 0.25, 0.5, 0.75, 0.99)] == [16, 32, 64, 128, 256]
    assert [Ordinal(["s", "m", "l"]).from_unit(u) for u in (0, 0.4, 0.9)] == ["s", "m", "l"]


def test_a_log_integer_gives_each_order_of_magnitude_the_same_share() -> None:
    values = [Integer(1, 999, log=True).from_unit((k + 0.5) / 3000) for k in range(3000)]
    digits = [len(str(value)) for value in values]
    assert [digits.count(n) for n in (1, 2, 3)] == [1000, 1000, 1000]


def test_all_separate_values_can_be_drawn() -> None:
    for distribution in (
        Integer(3, 40, step=4),
        Integer(1, 40, log=True),
        Uniform(0, 2, step=0.25),
    ):
        drawn = {str(distribution.from_unit(k / 5000)) for k in range(5000)}
        assert len(drawn) == distribution.size


@pytest.mark.parametrize("u", [-1.0, 0.0, 1 - 2.0**-53, 1.0, 2.0])
def test_points_outside_of_the_interval_are_clipped(u: float) -> None:
    for distribution in (
        Uniform(-0.1, 0.3),
        Uniform(-0.1, 0.3, step=0.1),
        LogUniform(1e-300, 1e5),
        LogUniform(1e-5, 1.7976931348623157e308 * 1e-10),
        Integer(1, 2**63 - 1, log=True),
        Integer(-(2**63), 2**63 - 1),
        Choice(["a", "b"]),
    ):
        assert distribution.problems() == []
        assert distribution.check(distribution.from_unit(u)) is None


ONE_POINT: list[Distribution] = [Uniform(2, 2), Uniform(2, 2, step=1), LogUniform(2, 2)]
ONE_POINT += [Integer(2, 2), Integer(2, 2, step=5, log=True), Choice([2]), Constant(2)]


@pytest.mark.parametrize("distribution", ONE_POINT)
def test_a_space_of_one_point(distribution: Distribution) -> None:
    assert distribution.problems() == []
    assert distribution.size == 1
    assert [distribution.from_unit(u) for u in (0.0, 0.5, 0.999)] == [2, 2, 2]
    assert distribution.to_unit(2) == pytest.approx(0.5)


def test_sizes() -> None:
    assert Uniform(0, 1).size is None
    assert LogUniform(1, 2).size is None
    assert Uniform(0, 1, step=0.1).size == 11
    assert Uniform(0.2, 0.3, step=0.1).size == 2
    assert Integer(1, 10, step=4).size == 3
    assert Choice(["a", "b"]).size == 2


def test_draws_do_not_share_lists_with_the_distribution() -> None:
    for distribution in (Choice([[1, 2]]), Constant([1, 2])):
        drawn = distribution.from_unit(0.5)
        assert isinstance(drawn, list)
        drawn.append(3)
        assert distribution.from_unit(0.5) == [1, 2]


def test_numbers_of_numpy_are_taken_where_they_are_floats() -> None:
    np = pytest.importorskip("numpy")
    uniform = Uniform(np.float64(0.1), np.float64(0.3), step=np.float64(0.1))
    assert uniform.problems() == []
    assert type(uniform.from_unit(0.9)) is float
    assert type(LogUniform(np.float64(0.1), np.float64(0.1)).from_unit(0.9)) is float
    assert [type(value) for value in uniform.to_json().values()] == [str, float, float, float]


def test_any_iterable_with_an_order_gives_choices() -> None:
    assert Choice(range(3)) == Choice((0, 1, 2)) == Choice([0, 1, 2])


CHECKS: list[tuple[Distribution, Any, str | None]] = [
    (Uniform(0, 1), 0, None),
    (Uniform(0, 1), 1.0, None),
    (Uniform(0, 1), 1.5, "must be from 0 to 1, got 1.5"),
    (Uniform(0, 1), True, "must be a finite number, got True"),
    (Uniform(0, 1), "0.5", "must be a finite number, got '0.5'"),
    (Uniform(0, 1), NAN, "must be a finite number, got nan"),
    (Uniform(0, 1, step=0.1), 0.1 * 3, None),
    (Uniform(0, 1, step=0.1), 0.25, "must be 0 plus a multiple of 0.1, got 0.25; write 0.3"),
    (LogUniform(0.1, 1), 0.01, "must be from 0.1 to 1, got 0.01"),
    (LogUniform(0.1, 1), None, "must be a finite number, got None"),
    (Integer(1, 9, step=4), 5, None),
    (Integer(1, 9, step=4), 6, "must be 1 plus a multiple of 4, got 6; write 5"),
    (Integer(1, 9), 3.0, "must be a whole number, got 3.0"),
    (Integer(0, 9), False, "must be a whole number, got False"),
    (Integer(1, 9), 10**400, "must be a whole number, got 1" + "0" * 76 + "..."),
    (Choice(["a", 1]), 1.0, None),
    (Choice(["a", 1]), True, "must be one of ['a', 1], got True"),
    (Choice(["a", 1]), "b", "must be one of ['a', 1], got 'b'"),
    (Choice([[1, {"k": 2}]]), [1, {"k": 2}], None),
    (Choice([[1, {"k": 2}]]), [1, {"k": 3}], "must be one of [[1, {'k': 2}]], got [1, {'k': 3}]"),
    (Constant("a"), "a", None),
    (Constant("a"), None, "must be 'a', got None"),
    (Pow2(2, 16), 12, "must be a power of two, got 12"),
    (Pow2(2, 16), 32, "must be from 2 to 16, got 32"),
    (Normal(0, 1, low=-1), -2, "must be at least -1, got -2"),
    (Normal(0, 1, high=1), 2.5, "must be at most 1, got 2.5"),
    (LogNormal(0, 1), 0, "must be above 0, got 0"),
    (LogitUniform(0.1, 0.9), 0.95, "must be from 0.1 to 0.9, got 0.95"),
    (Ordinal(["s", "m"]), "l", "must be one of ['s', 'm'], got 'l'"),
]


@pytest.mark.parametrize(("distribution", "value", "problem"), CHECKS)
def test_check_tells_why(distribution: Distribution, value: JsonValue, problem: str | None) -> None:
    assert distribution.check(value) == problem


def test_check_survives_arrays() -> None:
    np = pytest.importorskip("numpy")
    assert Choice([1, 2]).check(np.array([1, 2])) is not None
    assert Constant([1, 2]).check(np.array([1, 2])) is not None
    assert Uniform(0, 1).check(np.array([0.5])) is not None


def test_only_values_have_a_place_in_the_interval() -> None:
    with pytest.raises(SpaceError) as error:
        Uniform(0, 1).to_unit(2)
    assert error.value.problems == ("must be from 0 to 1, got 2",)


def _bad(cls: Any, *arguments: Any, **options: Any) -> Any:
    """A distribution that a type checker would refuse."""
    return cls(*arguments, **options)


MISTAKES: list[tuple[Distribution, list[str]]] = [
    (_bad(Uniform, "0", 1), ["low must be a finite number, got '0'"]),
    (
        _bad(Uniform, True, NAN),
        ["low must be a finite number, got True", "high must be a finite number, got nan"],
    ),
    (Uniform(0, INF), ["high must be a finite number, got inf"]),
    (_bad(Uniform, 0, 1, step="x"), ["step must be a finite number, got 'x'"]),
    (Uniform(2, 1), ["low must be at most high, got low=2 and high=1"]),
    (Uniform(0, 1, step=0), ["step must be above 0, got 0"]),
    (Uniform(0, 1, step=-0.5), ["step must be above 0, got -0.5"]),
    (Uniform(0, 1, step=2), ["step must be at most high - low, got 2 for 0 to 1"]),
    (
        Uniform(2, 1, step=0),
        ["low must be at most high, got low=2 and high=1", "step must be above 0, got 0"],
    ),
    (
        Uniform(-1e308, 1e308),
        ["the range is too wide for floats, got Uniform(-1e+308, 1e+308)"],
    ),
    (
        Uniform(0, 1, step=1e-320),
        ["the range is too wide for floats, got Uniform(0, 1, step=1e-320)"],
    ),
    (Uniform(0, 1, center=2), ["center must be from 0 to 1, got 2"]),
    (_bad(Uniform, 0, 1, center="x"), ["center must be a finite number, got 'x'"]),
    (Uniform(0, 1, scale=0), ["scale must be a number above 0, got 0"]),
    (_bad(Uniform, 0, 1, scale=True), ["scale must be a number above 0, got True"]),
    (
        Uniform(0, 1, center=2, scale=-1),
        ["center must be from 0 to 1, got 2", "scale must be a number above 0, got -1"],
    ),
    (LogUniform(0, 1), ["low must be above 0 on a log scale, got 0"]),
    (
        LogUniform(2, -1),
        ["low must be at most high, got low=2 and high=-1"],
    ),
    (
        LogUniform(1e-300, 1e300),
        ["the range is too wide for floats, got LogUniform(1e-300, 1e+300)"],
    ),
    (_bad(Integer, 1.5, 3), ["low must be a whole number, got 1.5"]),
    (_bad(Integer, 1, 8.0), ["high must be a whole number, got 8.0"]),
    (_bad(Integer, True, 3), ["low must be a whole number, got True"]),
    (_bad(Integer, 1, 3, step=None), ["step must be a whole number, got None"]),
    (_bad(Integer, 1, 3, step=True), ["step must be a whole number, got True"]),
    (_bad(Integer, 1, 3, log=1), ["log must be True or False, got 1"]),
    (Integer(0, 8, log=True), ["low must be above 0 on a log scale, got 0"]),
    (Integer(8, 1), ["low must be at most high, got low=8 and high=1"]),
    (Integer(1, 8, step=0), ["step must be above 0, got 0"]),
    (Integer(1, 8, step=8), ["step must be at most high - low, got 8 for 1 to 8"]),
    (
        Integer(1, 9, step=4, center=4),
        ["center must be 1 plus a multiple of 4, got 4; write 5"],
    ),
    (Choice([]), ["values must be a list with at least one value, got []"]),
    (Choice("abc"), ["values must be a list with at least one value, got 'abc'"]),
    (_bad(Choice, {"a"}), ["values must be a list with at least one value, got {'a'}"]),
    (_bad(Choice, {"a": 1}), ["values must be a list with at least one value, got {'a': 1}"]),
    (_bad(Choice, 5), ["values must be a list with at least one value, got 5"]),
    (Choice(["a", "b", "a"]), ["values must differ, got 'a' more than once"]),
    (Choice([1, 1.0]), ["values must differ, got 1.0 more than once"]),
    (Choice([{"a": 1}, {"a": 1}]), ["values must differ, got {'a': 1} more than once"]),
    (_bad(Choice, [(3, 3)]), ["values must be JSON, got (3, 3); write [3, 3]"]),
    (_bad(Choice, [{1: 2}]), ["values must be JSON, got {1: 2}; write {'1': 2}"]),
    (Choice([1.0, NAN]), ["values must be JSON, got nan"]),
    (_bad(Choice, [len]), ["values must be JSON, got <built-in function len>"]),
    (Choice(["a"], center="b"), ["center must be one of ['a'], got 'b'"]),
    (_bad(Constant, {1}), ["value must be JSON, got {1}"]),
    (Constant(INF), ["value must be JSON, got inf"]),
    (LogitUniform(0, 1), ["low must be above 0, got 0", "high must be below 1, got 1"]),
    (LogitUniform(0.9, 0.1), ["low must be at most high, got low=0.9 and high=0.1"]),
    (Pow2(3, 8), ["low must be a power of two, got 3"]),
    (Pow2(0, 8), ["low must be a power of two, got 0"]),
    (Pow2(16, 8), ["low must be at most high, got low=16 and high=8"]),
    (Normal(0, 0), ["sd must be above 0, got 0"]),
    (Normal(0, 1, low=2, high=1), ["low must be at most high, got low=2 and high=1"]),
    (
        Normal(0, 1, low=50, high=60),
        ["hardly anything of the bell lies between the bounds, got Normal(0, 1, low=50, high=60)"],
    ),
    (Normal(NAN, 1), ["mean must be a finite number, got nan"]),
    (LogNormal(0, 1, low=0), ["low must be above 0, got 0"]),
    (Ordinal([]), ["values must be a list with at least one value, got []"]),
]


@pytest.mark.parametrize(("distribution", "problems"), MISTAKES, ids=lambda x: str(x)[:60])
def test_mistakes_are_told(distribution: Distribution, problems: list[str]) -> None:
    assert distribution.problems() == problems


def test_true_and_false_are_different_from_numbers() -> None:
    assert Choice([True, False, 0, 1]).problems() == []


@given(st.sampled_from(sorted(TYPES)), st.lists(st.none() | st.booleans() | json_value, max_size=4))
def test_constructors_never_raise_and_problems_always_answers(kind: str, arguments: list[JsonValue]) -> None:
    cls = TYPES[kind]
    required = 1 if cls in (Choice, Ordinal, Constant) else 2
    distribution = _bad(cls, *[*arguments, None, None][:required])
    if not distribution.problems():
        assert distribution.check(distribution.from_unit(0.5)) is None
    assert repr(distribution)
    assert isinstance(hash(distribution), int)


def test_a_constant_takes_neither_center_nor_scale() -> None:
    with pytest.raises(TypeError):
        _bad(Constant, 3, center=3)
    assert Constant(3).center is None
    assert Constant(3).scale is None


def test_distributions_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Uniform(0, 1).low = 3  # type: ignore[misc]


def test_many_values_are_compared_in_no_time() -> None:
    values = [*range(20_000), *([n, {"n": n}] for n in range(20_000)), True, "1"]
    assert Choice(values).problems() == []
    again = Choice([*values, 7.0, [7, {"n": 7.0}]]).problems()
    assert again == [
        "values must differ, got 7.0 more than once",
        "values must differ, got [7, {'n': 7.0}] more than once",
    ]
