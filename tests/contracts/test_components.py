"""Components: constructors that tell all mistakes, and objects that another process makes again."""

import copy
import json
import os
import pickle
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from metta.sweep.contracts.components import Checked, ComponentSpec, Configured, count_problems, create
from metta.sweep.contracts.distributions import Distribution, Uniform
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.spaces import SearchSpace
from metta.sweep.contracts.trials import Resources

HERE = "tests.contracts.test_components"


class Part(Configured):
    registry: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"plain": f"{HERE}:Plain", "nested": f"{HERE}:Nested"}
    )


class Plain(Part):
    def __init__(self, size: int, rate: float = 0.5, *, mode: str | None = "fast") -> None:
        self.size, self.rate, self.mode = size, rate, mode


class Nested(Part):
    def __init__(
        self,
        base: Part | ComponentSpec | None = None,
        parts: list[Part] | None = None,
        space: SearchSpace | Mapping[str, Distribution] | None = None,
        resources: Resources | None = None,
    ) -> None:
        self.base, self.parts, self.space, self.resources = base, parts, space, resources


class Unregistered(Part):
    def __init__(self, **options: object) -> None:
        self.options = options


class Starred(Part):
    def __init__(self, first: int, *rest: int) -> None:
        self.rest = rest


class Abstract(Part):
    @abstractmethod
    def work(self) -> None: ...

    @abstractmethod
    def rest(self) -> None: ...


@dataclass(frozen=True)
class Frozen(Part):
    size: int = 3


class Stranger: ...


class Numpy:
    """What numpy's arrays have in common."""

    def tolist(self) -> list[float]:
        return [0.5]


def mistakes(kind: type[Checked], *args: object, **options: object) -> list[str]:
    with pytest.raises(DefinitionError) as error:
        kind(*args, **options)
    assert error.value.subject == kind.__name__
    return list(error.value.problems)


# constructors


def test_all_mistakes_in_the_arguments_are_told_at_once() -> None:
    assert mistakes(Plain, rat=0.1, mood="slow", colour="red") == [
        "rat is unknown; did you mean rate?",
        "mood is unknown; did you mean mode?",
        "colour is unknown. Known: mode, rate, size",
        "size is missing",
    ]


def test_too_many_arguments_and_those_given_twice_are_told() -> None:
    assert mistakes(Plain, 1, 0.1, "fast", rate=0.2) == [
        "it takes 2 arguments by position, got 3",
        "rate is given twice, by position and by name",
    ]


def test_what_an_abstract_class_lacks_is_told() -> None:
    assert mistakes(Abstract) == ["it does not define rest", "it does not define work"]


def test_arguments_behind_stars_are_allowed() -> None:
    assert Starred(1, 2, 3).rest == (2, 3)
    assert Unregistered(depth=3).options == {"depth": 3}
    assert mistakes(Starred) == ["first is missing"]


def test_what_a_constructor_raises_itself_passes_unchanged() -> None:
    class Picky(Part):
        def __init__(self, size: int) -> None:
            raise TypeError(f"{size} is too small")

    with pytest.raises(TypeError, match="3 is too small"):
        Picky(3)


@pytest.mark.parametrize(
    "part", [Plain(3, mode="slow"), Frozen(5), Nested(Plain(3))], ids=lambda part: type(part).__name__
)
def test_copies_and_pickles_are_made_without_a_new_construction(part: Part) -> None:
    for twin in (copy.copy(part), copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        assert type(twin) is type(part)
        assert twin.spec() == part.spec()


# plain data


@pytest.mark.parametrize(
    ("part", "spec"),
    [
        (Plain(3), {"type": "plain", "options": {"size": 3}}),
        (Plain(3, 0.5, mode="fast"), {"type": "plain", "options": {"size": 3}}),
        (Plain(size=3, rate=0.1), {"type": "plain", "options": {"size": 3, "rate": 0.1}}),
        (Plain(3, mode=None), {"type": "plain", "options": {"size": 3, "mode": None}}),
        (Frozen(), {"type": f"{HERE}:Frozen", "options": {}}),
        (Unregistered(b=1, a=Numpy()), {"type": f"{HERE}:Unregistered", "options": {"b": 1, "a": [0.5]}}),
    ],
)
def test_a_spec_names_the_class_and_the_arguments_that_are_not_defaults(
    part: Part, spec: dict[str, Any]
) -> None:
    assert part.spec().model_dump() == spec


SPACE = {"type": "uniform", "low": 0, "high": 1}


@pytest.mark.parametrize(
    ("part", "options"),
    [
        (Nested(Plain(3)), {"base": {"type": "plain", "options": {"size": 3}}}),
        (
            Nested(parts=[Frozen(), Plain(1)]),
            {
                "parts": [
                    {"type": f"{HERE}:Frozen", "options": {}},
                    {"type": "plain", "options": {"size": 1}},
                ]
            },
        ),
        (
            Nested(space=SearchSpace({"x": Uniform(0, 1)})),
            {"space": {"parameters": {"x": SPACE}, "constraints": []}},
        ),
        (Nested(space={"x": Uniform(0, 1)}), {"space": {"x": SPACE}}),
        (
            Nested(resources=Resources(cpu=2)),
            {"resources": {"cpu": 2.0, "gpu": 0.0, "memory_gib": None}},
        ),
    ],
)
def test_arguments_of_our_own_kinds_become_plain_data(part: Part, options: dict[str, Any]) -> None:
    assert part.spec().options == options
    assert json.loads(part.spec().model_dump_json())["options"] == options


def test_a_class_is_referred_to_as_the_caller_says_inside_too() -> None:
    spec = Nested(Frozen()).spec(lambda kind: f"script.py:{kind.__name__}")
    assert spec.model_dump() == {
        "type": "nested",
        "options": {"base": {"type": "script.py:Frozen", "options": {}}},
    }


def test_all_arguments_that_are_not_plain_data_are_told() -> None:
    with pytest.raises(DefinitionError) as error:
        Unregistered(a=Stranger, b=1, c=[{1, 2}]).spec()
    assert error.value.problems == (
        f"a has to be plain JSON, got {Stranger!r}: another process could not make it again",
        "c has to be plain JSON, got [{1, 2}]: another process could not make it again",
    )


def test_arguments_without_a_name_are_told() -> None:
    with pytest.raises(DefinitionError) as error:
        Starred(1, 2).spec()
    assert error.value.problems == (
        "2 stands behind *; give it by name: another process could not make it again",
    )


# and back


@pytest.mark.parametrize(
    "part",
    [Plain(3, 0.1, mode=None), Frozen(5), Unregistered(a=[1, {"b": 2}])],
    ids=lambda part: type(part).__name__,
)
def test_another_process_makes_the_same_object(part: Part) -> None:
    code = (
        f"from {HERE} import *; import sys;"
        " made = create(Part, ComponentSpec.model_validate_json(sys.argv[1]));"
        " print(made.spec().model_dump_json())"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    written = part.spec().model_dump_json()
    assert (
        subprocess.check_output([sys.executable, "-c", code, written], env=environment, text=True).strip()
        == written
    )


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    with pytest.raises(DefinitionError, match=r"the part: unknown part 'plane'; did you mean plain\?"):
        create(Part, ComponentSpec(type="plane"))
    with pytest.raises(DefinitionError, match=r"the part: unknown part 'zzz'\. Known: nested, plain"):
        create(Plain, ComponentSpec(type="zzz"))


def test_wrong_arguments_in_plain_data_are_told_like_those_in_code() -> None:
    with pytest.raises(DefinitionError) as error:
        create(Part, ComponentSpec(type="plain", options={"sise": 3}))
    assert error.value.problems == ("sise is unknown; did you mean size?", "size is missing")


@pytest.mark.parametrize(
    "name", ["Stranger", "HERE", "test_wrong_arguments_in_plain_data_are_told_like_those_in_code"]
)
def test_what_is_no_class_of_the_kind_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"{HERE}:{name} is not a subclass of Part"):
        create(Part, ComponentSpec(type=f"{HERE}:{name}"))


def test_a_class_of_another_kind_is_refused() -> None:
    with pytest.raises(DefinitionError, match="plain is not a subclass of Nested"):
        create(Nested, ComponentSpec(type="plain"))


@pytest.mark.parametrize(("value", "is_fine"), [(None, True), (1, True), (7, True), (0, False), (-1, False)])
def test_counts_are_whole_numbers_of_at_least_one(value: object, is_fine: bool) -> None:
    assert (count_problems(size=value) == []) is is_fine


@pytest.mark.parametrize("value", [1.0, "3", True])
def test_what_is_no_count_is_shown(value: object) -> None:
    assert count_problems(good=2, size=value) == [
        f"size has to be a whole number of at least 1, got {value!r}"
    ]
