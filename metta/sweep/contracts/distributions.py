"""Distributions: the values a parameter can take, and how likely they are.

Each maps the unit interval to its values (``from_unit``, the inverse of its distribution function)
and back (``to_unit``), so an optimizer that thinks in a unit cube needs to know nothing else.

A new distribution is a class here and a line in ``TYPES``.
"""

import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, TypeGuard

from pydantic import JsonValue

from metta.sweep.contracts.errors import SpaceError, shown

_BELOW_ONE = 1 - 2.0**-53
_MOST = sys.float_info.max


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
        return self._from_unit(min(max(u, 0.0), _BELOW_ONE))

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
        return min(max(self._to_unit(value), 0.0), _BELOW_ONE)

    def check(self, value: JsonValue) -> str | None:
        """Why a value is none of this distribution, or None; only an int may stand for a float."""
        return self._check(value)

    def to_json(self) -> dict[str, JsonValue]:
        """The distribution as JSON, without arguments that are at their defaults."""
        name = next(name for name, cls in TYPES.items() if cls is type(self))
        return {"type": name, **json.loads(json.dumps(self._given(), default=repr))}

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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Range(Distribution):
    """Numbers between bounds; on a grid or continuous, on a linear or a log scale."""

    low: float
    high: float
    _number: ClassVar[type[int] | type[float]] = float

    @abstractmethod
    def _shape(self) -> tuple[float | None, bool]:
        """The step, or None for continuous numbers; and whether the scale is a log one."""

    def _size(self) -> int | None:
        step = self._shape()[0]
        if step is None:
            return 1 if self.low == self.high else None
        return (_exact(self.high) - _exact(self.low)) // _exact(step) + 1

    def _problems(self) -> list[str]:
        numbers = {k: v for k, v in self._given().items() if k in ("low", "high", "step")}
        found = [f"{k} {p}" for k, v in numbers.items() if (p := _no_number(v, self._number))]
        log: object = self._shape()[1]
        if not isinstance(log, bool):
            found.append(f"log must be True or False, got {shown(log)}")
        return found or self._bounds_problems()

    def _bounds_problems(self) -> list[str]:
        low, high, (step, log) = self.low, self.high, self._shape()
        found = [f"low must be above 0 on a log scale, got {low}"] if log and low <= 0 else []
        if low > high:
            found.append(f"low must be at most high, got low={low} and high={high}")
        if step is not None and step <= 0:
            return [*found, f"step must be above 0, got {step}"]
        size = self._size() or 2
        if size == 1 and low < high:
            found.append(f"step must be at most high - low, got {step} for {low} to {high}")
        if not all(map(is_number, (high - low, size))) or (log and 0 < low < high / _MOST):
            found.append(f"the range is too wide for floats, got {self!r}")
        return found

    def _from_unit(self, u: float) -> float:
        size = self._size()
        share = _bend(u, self._ratio(size))
        if size is not None:
            return self._at(min(int(share * size), size - 1))
        return float(min(max(self.low + share * (self.high - self.low), self.low), self.high))

    def _to_unit(self, value: float) -> float:
        size = self._size()
        ratio = self._ratio(size)
        if size is None:
            return _unbend((value - self.low) / (self.high - self.low), ratio)
        cell = self._cell(value)
        return (_unbend(cell / size, ratio) + _unbend((cell + 1) / size, ratio)) / 2

    def _check(self, value: JsonValue) -> str | None:
        if (problem := _no_number(value, self._number)) or not is_number(value):
            return problem
        if not self.low <= value <= self.high:
            return f"must be from {self.low} to {self.high}, got {value}"
        if (step := self._shape()[0]) is None:
            return None
        nearest = self._at(self._cell(value))
        # 0.1 * 3 is 0.30000000000000004, and yet on the step
        if abs(value - nearest) <= (0 if self._number is int else 1e-6 * step):
            return None
        return f"must be {self.low} plus a multiple of {step}, got {value}; write {nearest}"

    def _ratio(self, size: int | None) -> float:
        """End over start of a log scale, where the last cell is as wide as the others; else 1."""
        step, log = self._shape()
        end = self.high if step is None or size is None else self.low + size * step
        return end / self.low if log else 1

    def _at(self, cell: int) -> float:
        # exact, because 3 * 0.1 is to be 0.3
        return self._number(_exact(self.low) + cell * _exact(self._shape()[0] or 0))

    def _cell(self, value: float) -> int:
        offset, step = _exact(value) - _exact(self.low), _exact(self._shape()[0] or 1)
        return min((2 * offset + step) // (2 * step), (self._size() or 1) - 1)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Uniform(_Range):
    """Real numbers, all equally likely.

    Args:
        low: Least value.
        high: Greatest value.
        step: Only ``low``, ``low + step``, ``low + 2 * step`` and so on; None is continuous.
        center, scale, when: See ``Distribution``.
    """

    step: float | None = None

    def _shape(self) -> tuple[float | None, bool]:
        return self.step, False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogUniform(_Range):
    """Real numbers, each order of magnitude equally likely.

    Args:
        low: Least value, above 0.
        high: Greatest value.
        center, scale, when: See ``Distribution``.
    """

    def _shape(self) -> tuple[float | None, bool]:
        return None, True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Integer(_Range):
    """Whole numbers.

    Args:
        low: Least value; at least 1 with ``log``.
        high: Greatest value.
        step: Only ``low``, ``low + step``, ``low + 2 * step`` and so on.
        log: Whether orders of magnitude are equally likely, so 1 to 9 is as likely as 10 to 99: a
            value ``v`` has the weight ``log((v + step) / v)``.
        center, scale, when: See ``Distribution``.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False
    _number: ClassVar[type[int] | type[float]] = int

    def _shape(self) -> tuple[float | None, bool]:
        return self.step, self.log


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Choice(Distribution):
    """One of some values, all equally likely and in no order.

    Args:
        values: Any JSON values, all different.
        center, scale, when: See ``Distribution``.
    """

    values: Sequence[JsonValue]

    def __post_init__(self) -> None:
        values: object = self.values
        # a string or a set is no list of values: kept as it is, for `problems` to tell
        if isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping, Set)):
            object.__setattr__(self, "values", list(values))

    def _size(self) -> int:
        return len(self.values)

    def _problems(self) -> list[str]:
        values: object = self.values
        if not isinstance(values, list) or not values:
            return [f"values must be a list with at least one value, got {shown(values)}"]
        strange = [f"values must be JSON, got {p}" for v in values if (p := _no_json(v))]
        twice = [v for k, v in enumerate(values) if any(same(v, w) for w in values[:k])]
        return strange + [f"values must differ, got {shown(v)} more than once" for v in twice]

    def _from_unit(self, u: float) -> JsonValue:
        # a copy, so that a trial that changes its list does not change the space
        return deepcopy(self.values[min(int(u * len(self.values)), len(self.values) - 1)])

    def _to_unit(self, value: JsonValue) -> float:
        cell = next(k for k, known in enumerate(self.values) if same(known, value))
        return (cell + 0.5) / len(self.values)

    def _check(self, value: JsonValue) -> str | None:
        if any(same(known, value) for known in self.values):
            return None
        return f"must be one of {shown(self.values)}, got {shown(value)}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Constant(Distribution):
    """A single value, handed to each trial.

    Args:
        value: Any JSON value.
        when: See ``Distribution``.
    """

    value: JsonValue
    # there is nothing to search around
    center: JsonValue = field(default=None, init=False)
    scale: float | None = field(default=None, init=False)

    def _size(self) -> int:
        return 1

    def _problems(self) -> list[str]:
        return [f"value must be JSON, got {p}"] if (p := _no_json(self.value)) else []

    def _from_unit(self, u: float) -> JsonValue:
        return deepcopy(self.value)

    def _to_unit(self, value: JsonValue) -> float:
        return 0.5

    def _check(self, value: JsonValue) -> str | None:
        wrong = not same(self.value, value)
        return f"must be {shown(self.value)}, got {shown(value)}" if wrong else None


TYPES: dict[str, type[Distribution]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "integer": Integer,
    "choice": Choice,
    "constant": Constant,
}


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST


def same(one: object, other: object) -> bool:
    """Whether two JSON values are the same: 1 and 1.0 are, 1 and True are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    # an array of numpy answers with an array, which is not True
    return isinstance(one, bool) == isinstance(other, bool) and (one == other) is True


def _no_number(value: object, number: type[int] | type[float]) -> str | None:
    if is_number(value) and isinstance(value, (number, int)):
        return None
    kind = "whole" if number is int else "finite"
    return f"must be a {kind} number, got {shown(value)}"


def _no_json(value: object) -> str | None:
    """A value that JSON would change or refuse, and what to write instead."""
    try:
        copy = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return shown(value)
    return None if copy == value else f"{shown(value)}; write {shown(copy)}"


@lru_cache(4096)
def _exact(value: float) -> Fraction | int:
    """A number as it is written: 0.1 is a tenth, not the float next to it."""
    return value if isinstance(value, int) else Fraction(str(value))


def _bend(share: float, ratio: float) -> float:
    """Share of a range's width below which a share of its probability lies."""
    return share if ratio == 1 else math.expm1(share * math.log(ratio)) / (ratio - 1)


def _unbend(share: float, ratio: float) -> float:
    return share if ratio == 1 else math.log1p(share * (ratio - 1)) / math.log(ratio)
