from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypedDict

import numpy as np
import pytest
import typing_extensions
from pydantic import BaseModel
from pydantic_core.core_schema import no_info_plain_validator_function

from metta.sweep.contracts.errors import StageFailed
from metta.sweep.experiments.base import Pipeline
from metta.sweep.pipeline.annotations import accepts, type_text
from metta.sweep.pipeline.conversion import Mismatch, conform, restored
from metta.sweep.pipeline.flows import Flow, either
from metta.sweep.pipeline.records import Record


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: float
    y: int = 0


class Pixel(NamedTuple):
    x: float
    y: int = 0


@dataclass
class Line:
    start: Point
    end: Point
    names: list[str] = field(default_factory=list)


class Model(BaseModel):
    line: Line
    when: datetime
    at: Path
    colour: Colour = Colour.RED


class Other:
    """Nothing that pydantic knows."""


class HasX(Protocol):
    x: float


LINE = Line(Point(1.0), Point(2.0, 3), ["a"])
MODEL = Model(line=LINE, when=datetime(2020, 1, 1, tzinfo=UTC), at=Path("a/b"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, int),
        (1, float),
        (None, int | None),
        ([Point(1.0)], list[Point]),
        ((1, "a"), tuple[int, str]),
        (Point(1.0, 2), Point),
        (LINE, Line),
        (MODEL, Model),
        (Colour.RED, Colour),
        (Path("a"), Path),
        (len, Callable[..., int]),
        ("a", Literal["a", "b"]),
        ([1], Sequence[int]),
        (Point(1.0), HasX),
        (1, Any),
    ],
)
def test_a_value_of_its_type_fits(value: Any, expected: Any) -> None:
    assert conform(value, expected) == value


@pytest.mark.parametrize(
    ("value", "expected"), [(Point(1.0), Pixel | Point), (3, float | int), (True, int | bool)], ids=repr
)
def test_a_value_of_a_member_of_a_union_keeps_its_class(value: Any, expected: Any) -> None:
    assert type(conform(value, expected)) is type(value)


@pytest.mark.parametrize(
    ("value", "expected", "plain"),
    [
        (np.int64(3), int, 3),
        (np.bool_(True), bool, True),
        (np.int64(3), float, 3.0),
        (np.float32(0.5), float, 0.5),
        (np.array(3), int, 3),
        (np.int64(3), int | None, 3),
    ],
)
def test_a_scalar_of_numpy_fits_where_the_plain_one_would(value: Any, expected: Any, plain: Any) -> None:
    assert repr(conform(value, expected)) == repr(plain)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.float64(3.5), int), (np.int64(1), bool), (np.longdouble(1), int), (np.ones(1), float)],
)
def test_a_scalar_of_numpy_that_would_lose_something_does_not_fit(value: Any, expected: Any) -> None:
    with pytest.raises(Mismatch):
        conform(value, expected)


class Settings(TypedDict):
    rate: float


class Extended(typing_extensions.TypedDict):
    rate: float


@pytest.mark.parametrize("kind", [Settings, Extended])
def test_a_typed_dict_fits_as_a_dict(kind: Any) -> None:
    assert conform({"rate": 1.0}, kind) == {"rate": 1.0}
    for wrong in (3, Point(1.0)):
        with pytest.raises(Mismatch, match="got "):
            conform(wrong, kind)
    assert accepts(kind, dict)
    assert accepts(dict[str, Any], kind)
    assert accepts(kind, kind)
    assert not accepts(kind, int)


@pytest.mark.parametrize("kind", [Settings, Extended])
def test_a_typed_dict_is_a_contract(kind: Any) -> None:
    def give() -> Any:
        return {"rate": 1.0}

    def take(given: Any) -> float:
        return float(given["rate"]) * 2

    give.__annotations__["return"] = take.__annotations__["given"] = kind
    pipeline: Any = Pipeline().stage("give", give).through(kind, validate_type=True).stage("take", take)
    assert pipeline.run_local() == 2.0
    number: Any = Pipeline().stage("give", lambda: 1).through(kind)
    with pytest.raises(StageFailed, match="got 1"):
        number.run_local()


def test_a_value_that_pydantic_does_not_know_fits_by_its_class() -> None:
    other = Other()
    assert conform(other, Other) is other
    assert conform([other], list[Other]) == [other]
    with pytest.raises(Mismatch, match="got 3"):
        conform(3, Other)


@pytest.mark.parametrize("value", [{"x": 1, "y": 2}, Record(x=1.0, y=2, z=3), Point(1.0, 2)])
def test_a_record_is_built_from_the_fields_of_another_one(value: Any) -> None:
    assert conform(value, Point) == Point(1.0, 2)
    assert type(conform(value, Point).x) is float


@pytest.mark.parametrize(
    ("value", "expected", "told"),
    [
        ("1", int, "it does not fit int: input should be a valid integer, got '1'"),
        (1.5, int, "it does not fit int: input should be a valid integer, got 1.5"),
        (True, str, "it does not fit str: input should be a valid string, got True"),
        (1, Point, "it does not fit Point: got 1"),
        (
            Record(y="a"),
            Point,
            "it does not fit Point: y: input should be a valid integer, got 'a'; x is missing",
        ),
        (Point("a"), Point, "it does not fit Point: x: input should be a valid number, got 'a'"),  # type: ignore[arg-type]
        (Line(Point("a"), Point(1.0)), Line, "it does not fit Line: start: x: input should be"),  # type: ignore[arg-type]
        ([1, "a"], list[int], "it does not fit list[int]: 1: input should be a valid integer, got 'a'"),
        ("a", int | None, "it does not fit int | None: got 'a'"),
    ],
)
def test_a_value_that_does_not_fit_says_where(value: Any, expected: Any, told: str) -> None:
    with pytest.raises(Mismatch) as error:
        conform(value, expected)
    assert str(error.value).startswith(told)


class Touchy:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return no_info_plain_validator_function(lambda value: value["missing"])


def test_whatever_a_validator_raises_is_a_mismatch() -> None:
    with pytest.raises(Mismatch, match="it does not fit Touchy: it cannot be checked: KeyError: 'missing'"):
        conform({}, Touchy)
    with pytest.raises(Mismatch, match="it cannot be read from JSON: KeyError: 'missing'"):
        restored(b"{}", Touchy)


@pytest.mark.parametrize(
    ("data", "value", "expected"),
    [
        ('{"y": 2, "x": 1.0}', Point(1.0, 2), Point),
        ('[{"start": [1], "end": [2, 3], "names": ["a"]}]', [LINE], list[Line]),
        ('{"start": [1], "end": [2, 3], "names": ["a"]}', LINE, Line),
        (MODEL.model_dump_json(), MODEL, Model),
        ('{"a": {"x": 1.5}}', {"a": Point(1.5)}, dict[str, Point]),
        ('[1, "a"]', (1, "a"), tuple[int, str]),
        ('"/w=="', b"\xff", bytes),
        ("Infinity", float("inf"), float),
    ],
)
def test_json_is_read_as_a_type(data: str, value: Any, expected: Any) -> None:
    back = restored(data.encode(), expected)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("expected", "got", "fits"),
    [
        (float, int, True),
        (int, float, False),
        (int, bool, True),
        (int | str, int, True),
        (int, int | str, False),
        (Point, Line, False),
        (list[int], list[str], False),
        (Sequence[int], list[int], True),
        (list, list[int], True),
        (tuple[int, ...], tuple[int, str], False),
        (tuple[int, ...], tuple[int, int], True),
        (Literal["a", "b"], Literal["a"], True),
        (Literal["a"], str, False),
        (str, Literal["a"], True),
        (HasX, int, True),
        (Any, int, True),
        (None, int, False),
        (object, int, True),
    ],
)
def test_types_fit_where_values_of_them_would(expected: Any, got: Any, fits: bool) -> None:
    assert accepts(expected, got) is fits


def test_types_read_as_they_were_written() -> None:
    assert [type_text(kind) for kind in (int, None.__class__, list[int], int | None, Point, Any)] == [
        "int",
        "None",
        "list[int]",
        "int | None",
        "Point",
        "Any",
    ]


def test_after_two_branches_only_what_both_give_is_known() -> None:
    both = either(Flow.of(Point), Flow.of(Line))
    assert both.fields == {}
    assert str(either(Flow.of(int), Flow.of(str))) in ("Union[int, str]", "int | str")
    assert either(Flow.of(int), Flow.of(int)) == Flow.of(int)
    assert either(Flow.of(int), Flow.of(Any)).is_unknown
