"""Models: what people write is read strictly, and what is wrong with it is said in sentences."""

from typing import Annotated, Any

import pytest
from pydantic import Field

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.models import Edge, Wire, json_ready, parse


class Wheel(Wire):
    size: int = Field(default=1, ge=1)


class Axle(Wire):
    left: Wheel
    load: float = 1.0


class Vehicle(Wire):
    name: str
    wheels: tuple[Wheel, ...] = ()
    axle: Axle | None = None
    spare: Annotated[Wheel, "in the boot"] | None = None
    weights: dict[str, float] = Field(default_factory=dict)


class Ticket(Edge):
    price: float = Field(default=1.0, gt=0)
    seats: int = 1


def problems(data: object) -> list[str]:
    with pytest.raises(DefinitionError) as error:
        parse(Vehicle, data, "the vehicle")
    assert error.value.subject == "the vehicle"
    return list(error.value.problems)


def test_unknown_keys_are_told_with_the_nearest_one_at_any_depth() -> None:
    assert problems(
        {
            "nam": "bus",
            "wheels": [{}, {"sice": 3}],
            "axle": {"left": {"sise": 2}, "lode": 3},
            "spare": {"colour": "red"},
        }
    ) == [
        "name is missing",
        "wheels.1.sice is unknown; did you mean size?",
        "axle.left.sise is unknown; did you mean size?",
        "axle.lode is unknown; did you mean load?",
        "spare.colour is unknown. Known: size",
        "nam is unknown; did you mean name?",
    ]


def test_values_are_told_with_their_place_and_what_was_got() -> None:
    assert problems({"name": 3, "wheels": [{"size": 0}, 5], "weights": {"dry": "x"}}) == [
        "name: input should be a valid string, got 3",
        "wheels.0.size: input should be greater than or equal to 1, got 0",
        "wheels.1: input should be a valid dictionary or instance of Wheel, got 5",
        "weights.dry: input should be a valid number, unable to parse string as a number, got 'x'",
    ]


def test_what_is_no_object_at_all_is_told_without_a_place() -> None:
    assert problems([1]) == ["input should be a valid dictionary or instance of Vehicle, got [1]"]


def test_long_values_are_cut() -> None:
    [problem] = problems({"name": list(range(1000))})
    assert len(problem) < 130


def test_the_wire_is_lenient_where_people_are_told() -> None:
    assert Vehicle.model_validate({"name": "bus", "nwe": 1, "axle": {"left": {}, "nwe": 1}}) == Vehicle(
        name="bus", axle=Axle(left=Wheel())
    )
    assert Ticket.model_validate({"price": 2, "nwe": 1}) == Ticket(price=2)


def test_a_constructor_tells_all_mistakes() -> None:
    wrong: dict[str, Any] = {"price": 0, "seets": 2}
    with pytest.raises(DefinitionError) as error:
        Ticket(**wrong)
    assert error.value.problems == (
        "seets is unknown; did you mean seats?",
        "price: input should be greater than 0, got 0",
    )
    assert error.value.subject == "Ticket"


class Array:
    """What numpy's scalars and arrays have in common."""

    def tolist(self) -> list[int]:
        return [1, 2]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({1: (2, Array())}, {"1": [2, [1, 2]]}),
        ([None, True, "x", 0.5], [None, True, "x", 0.5]),
        ((), []),
    ],
)
def test_values_become_native_json(value: object, plain: object) -> None:
    assert json_ready(value) == plain
