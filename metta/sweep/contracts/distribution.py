"""What every distribution is: values by their probability, from the unit interval and back."""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, TypeGuard

from pydantic import JsonValue

from metta.sweep.contracts.errors import SpaceError, shown

BELOW_ONE = 1 - 2.0**-53
MOST = sys.float_info.max


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Distribution(ABC):
    """The values a parameter can take, and how likely they are.

    Constructors never raise: a search space asks for ``problems``, and so tells the mistakes of all
    its parameters at once. The other methods may be used only when there are none.

    Args:
        center: A good value to begin with.
        scale: How far around it to look, above 0, in the unit of the optimizer that uses it.
        when: Other parameters and the value, or list of values, with which this one is active.
    """

    kind: ClassVar[str]
    """Its name in JSON."""

    center: JsonValue = None
    scale: float | None = None
    when: Mapping[str, JsonValue] | None = None

    @property
    def size(self) -> int | None:
        """Number of separate values, or None when they are continuous."""
        return self._size()

    def problems(self) -> list[str]:
        """What is wrong with the arguments, one sentence each; ``when`` is judged by the space."""
        found = self._problems()
        # no center can be judged without sound bounds
        if not found and self.center is not None and (problem := self.check(self.center)):
            found.append(f"center {problem}")
        if self.scale is not None and not (is_number(self.scale) and self.scale > 0):
            found.append(f"scale must be a number above 0, got {shown(self.scale)}")
        return found

    def from_unit(self, u: float) -> JsonValue:
        """The value at a point of the unit interval.

        Args:
            u: Probability of a lesser value, in [0, 1); beyond that it is clipped.

        Returns:
            A native Python value, inside the bounds and exactly on the step.
        """
        return self._from_unit(min(max(u, 0.0), BELOW_ONE))

    def to_unit(self, value: JsonValue) -> float:
        """The inverse of ``from_unit``; for separate values the centre of the value's cell.

        Args:
            value: A value of this distribution.

        Returns:
            A number in [0, 1).

        Raises:
            SpaceError: When it is not a value of this distribution.
        """
        if problem := self.check(value):
            raise SpaceError([problem], "the value")
        return min(max(self._to_unit(value), 0.0), BELOW_ONE)

    def check(self, value: JsonValue) -> str | None:
        """Why a value is none of this distribution, or None; only an int may stand for a float."""
        return self._check(value)

    def to_json(self) -> dict[str, JsonValue]:
        """The distribution as JSON, without arguments that are at their defaults."""
        return {"type": self.kind, **json.loads(json.dumps(self._given(), default=repr))}

    def _given(self) -> dict[str, Any]:
        """Arguments that are not at their defaults, in the order of the signature."""
        named = sorted(fields(self), key=lambda f: f.kw_only is True)
        # by identity, because 1 == True would hide a mistake
        return {f.name: v for f in named if (v := getattr(self, f.name)) is not f.default}

    def __eq__(self, other: object) -> bool:
        # by the JSON, because [1] == [True] in Python but not for a program that gets one of them
        return isinstance(other, Distribution) and same(self.to_json(), other.to_json())

    def __hash__(self) -> int:
        # only by numbers: they hash alike when they are the same; other values may be unhashable
        return hash((type(self), *filter(is_number, self._given().values())))

    def __repr__(self) -> str:
        required = [f.name for f in fields(self) if f.default is MISSING]
        given = (repr(v) if k in required else f"{k}={v!r}" for k, v in self._given().items())
        return f"{type(self).__name__}({', '.join(given)})"

    @abstractmethod
    def _size(self) -> int | None: ...

    @abstractmethod
    def _problems(self) -> list[str]: ...

    @abstractmethod
    def _from_unit(self, u: float) -> JsonValue: ...

    @abstractmethod
    def _to_unit(self, value: Any) -> float: ...

    @abstractmethod
    def _check(self, value: JsonValue) -> str | None: ...


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST


def same(one: object, other: object) -> bool:
    """Whether two JSON values are the same: 1 and 1.0 are, 1 and True are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    # an array of numpy answers with an array, which is not True
    return isinstance(one, bool) == isinstance(other, bool) and (one == other) is True


def no_number(value: object, number: type[int] | type[float]) -> str | None:
    """Why a value is no number of a kind, or None."""
    if is_number(value) and isinstance(value, (number, int)):
        return None
    kind = "whole" if number is int else "finite"
    return f"must be a {kind} number, got {shown(value)}"


def no_json(value: object) -> str | None:
    """A value that JSON would change or refuse, and what to write instead."""
    try:
        copy = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return shown(value)
    return None if copy == value else f"{shown(value)}; write {shown(copy)}"
