"""Objectives: every form that may be called, and what is said of the others."""

from __future__ import annotations  # annotations as strings: the others are in the table below

import asyncio
import functools
import operator
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

import pytest

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.objectives import caller_of, problems_of
from metta.sweep.contracts.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence as OnlyForCheckers

TRIAL = Trial({"x": 2.0}, number=3)


class Params(TypedDict):
    x: float


class Special(Trial): ...


def by_name(trial):  # type: ignore[no-untyped-def]  # the form without annotations
    return trial


def params(params):  # type: ignore[no-untyped-def]  # the form without annotations
    return params


def config(config):  # type: ignore[no-untyped-def]  # the form without annotations
    return config


def anything(params: Any) -> object:
    return params


def trial_called_params(params: Trial) -> object:
    return params


def dict_called_trial(trial: dict[str, Any]) -> object:
    return trial


def mapping(x: Mapping[str, float]) -> object:
    return x


def typed_dict(x: Params) -> object:
    return x


def special(config: Special) -> object:
    return config


def returns_what_only_checkers_know(x: dict[str, OnlyForCheckers[int]]) -> OnlyForCheckers[object]:
    return cast("OnlyForCheckers[object]", x)


def with_default(trial: Trial, epochs: int = 3) -> object:
    return trial


def only_default(params: dict[str, float] | None = None) -> object:
    return params


def positional_only(params: dict[str, float], /) -> object:
    return params


def variadic(*args: Any, **kwargs: Any) -> object:
    return args[0]


def data_first(data: str, params: dict[str, float]) -> object:
    return params


async def awaited(trial: Trial) -> object:
    await asyncio.sleep(0)
    return trial


def returns_a_task(params: dict[str, float]) -> Awaitable[object]:
    return asyncio.sleep(0, params)


class Model:
    def train(self, params: dict[str, float]) -> object:
        return params

    @classmethod
    def build(cls, trial: Trial) -> object:
        return trial

    @staticmethod
    def fit(config: dict[str, float]) -> object:
        return config


class Callable_:
    def __call__(self, params: dict[str, float]) -> object:
        return params


class AsyncCallable:
    async def __call__(self, trial: Trial) -> object:
        return trial


@functools.wraps(dict_called_trial)
def decorated(*args: Any, **kwargs: Any) -> object:
    return dict_called_trial(*args, **kwargs)


def annotated(annotation: object) -> Callable[..., object]:
    """A function as it would be without the import from the future."""

    def train(x: object) -> object:
        return x

    train.__annotations__["x"] = annotation
    return train


GETS_TRIAL = [
    by_name,
    trial_called_params,
    special,
    with_default,
    variadic,
    awaited,
    Model.build,
    AsyncCallable(),
    functools.partial(with_default, epochs=5),
    lambda trial: trial,
    annotated(Trial),
    annotated("Trial"),
    annotated("sweep.Trial"),
    annotated("'Trial'"),
    annotated("no code at all"),
    annotated(Any),
]
GETS_PARAMS = [
    params,
    config,
    anything,
    dict_called_trial,
    mapping,
    typed_dict,
    returns_what_only_checkers_know,
    only_default,
    positional_only,
    returns_a_task,
    Model().train,
    Model.fit,
    Callable_(),
    decorated,
    functools.partial(data_first, "data"),
    lambda params: params,
    annotated(dict),
    annotated(dict[str, Any]),
    annotated(Mapping[str, float]),
    annotated(Params),
    annotated("dict"),
    annotated("typing.Dict[str, t.Any]"),
    annotated("unknown.Mapping[str, t.Any]"),
]


@pytest.mark.parametrize("objective", GETS_TRIAL)
def test_it_gets_the_trial(objective: Callable[..., object]) -> None:
    assert caller_of(objective)(TRIAL) is TRIAL


@pytest.mark.parametrize("objective", GETS_PARAMS)
def test_it_gets_the_params(objective: Callable[..., object]) -> None:
    assert caller_of(objective)(TRIAL) is TRIAL.params


def test_a_callable_that_tells_nothing_of_its_arguments_gets_the_trial() -> None:
    number = operator.attrgetter("number")
    assert caller_of(number)(TRIAL) == 3


def nothing() -> float:
    return 1.0


def by_keyword(*, params: dict[str, float]) -> float:
    return 1.0


def options(**options: float) -> float:
    return 1.0


def two(trial: Trial, data: str) -> float:
    return 1.0


def required_keyword(trial: Trial, *, data: str) -> float:
    return 1.0


FORMS = "write `def train(trial: Trial)` or `def train(params: dict)`"


@pytest.mark.parametrize(
    ("objective", "problem"),
    [
        (3, f"the objective 3 cannot be called; {FORMS}"),
        (nothing, f"the objective nothing takes no argument; {FORMS}"),
        (by_keyword, f"the objective by_keyword takes arguments only by name; {FORMS}"),
        (options, f"the objective options takes arguments only by name; {FORMS}"),
        (two, f"the objective two needs trial, data, but it gets one argument; {FORMS}"),
        (
            required_keyword,
            f"the objective required_keyword needs trial, data, but it gets one argument; {FORMS}",
        ),
        (Model.train, f"the objective Model.train needs self, params, but it gets one argument; {FORMS}"),
    ],
)
def test_a_form_that_cannot_be_called_is_refused(objective: object, problem: str) -> None:
    assert problems_of(objective) == [problem]
    with pytest.raises(DefinitionError) as error:
        caller_of(objective)
    assert str(error.value) == f"the objective: {problem}"


def test_what_it_raises_passes_unchanged() -> None:
    async def train(trial: Trial) -> float:
        raise ZeroDivisionError(trial.number)

    with pytest.raises(ZeroDivisionError, match="3"):
        caller_of(train)(TRIAL)
