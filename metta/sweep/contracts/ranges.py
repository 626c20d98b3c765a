"""Ranges: numbers between bounds."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

from pydantic import JsonValue

from metta.sweep.contracts.distribution import MOST, Distribution, is_number, no_number
from metta.sweep.contracts.errors import shown


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
        found = [f"{k} {p}" for k, v in numbers.items() if (p := no_number(v, self._number))]
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
        if not all(map(is_number, (high - low, size))) or (log and 0 < low < high / MOST):
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
        if (problem := no_number(value, self._number)) or not is_number(value):
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

    kind: ClassVar[str] = "uniform"

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

    kind: ClassVar[str] = "log_uniform"

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

    kind: ClassVar[str] = "integer"

    low: int
    high: int
    step: int = 1
    log: bool = False
    _number: ClassVar[type[int] | type[float]] = int

    def _shape(self) -> tuple[float | None, bool]:
        return self.step, self.log


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogitUniform(_Range):
    """Shares between 0 and 1, evenly spread by their log odds: as fine near 1 as near 0.

    For discount factors and the like: of 0.9, 0.99 and 0.999 each is as far from the next.

    Args:
        low: Least value, above 0.
        high: Greatest value, below 1.
        center, scale, when: See ``Distribution``.
    """

    kind: ClassVar[str] = "logit_uniform"

    def _shape(self) -> tuple[float | None, bool]:
        return None, False

    def _bounds_problems(self) -> list[str]:
        found = [] if self.low > 0 else [f"low must be above 0, got {self.low}"]
        found += [] if self.high < 1 else [f"high must be below 1, got {self.high}"]
        if self.low > self.high:
            found.append(f"low must be at most high, got low={self.low} and high={self.high}")
        return found

    def _from_unit(self, u: float) -> float:
        low, high = _log_odds(self.low), _log_odds(self.high)
        value = 1 / (1 + math.exp(-(low + u * (high - low))))
        return min(max(value, self.low), self.high)

    def _to_unit(self, value: float) -> float:
        low, high = _log_odds(self.low), _log_odds(self.high)
        return (_log_odds(value) - low) / (high - low) if low < high else 0.5


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pow2(Distribution):
    """Powers of two, all equally likely.

    Args:
        low: Least value, a power of two.
        high: Greatest value, a power of two.
        center, scale, when: See ``Distribution``.
    """

    kind: ClassVar[str] = "pow2"

    low: int
    high: int

    def _size(self) -> int:
        return _exponent(self.high) - _exponent(self.low) + 1

    def _problems(self) -> list[str]:
        bounds = {"low": self.low, "high": self.high}
        found = [f"{k} {p}" for k, v in bounds.items() if (p := no_number(v, int) or _no_power(v))]
        if not found and self.low > self.high:
            found.append(f"low must be at most high, got low={self.low} and high={self.high}")
        return found

    def _from_unit(self, u: float) -> int:
        return int(self.low) << min(int(u * self._size()), self._size() - 1)

    def _to_unit(self, value: int) -> float:
        return (_exponent(value) - _exponent(self.low) + 0.5) / self._size()

    def _check(self, value: JsonValue) -> str | None:
        if problem := no_number(value, int):
            return problem
        assert isinstance(value, int)
        if problem := _no_power(value):
            return problem
        inside = self.low <= value <= self.high
        return None if inside else f"must be from {self.low} to {self.high}, got {value}"


@lru_cache(4096)
def _exact(value: float) -> Fraction | int:
    """A number as it is written: 0.1 is a tenth, not the float next to it."""
    return value if isinstance(value, int) else Fraction(str(value))


def _bend(share: float, ratio: float) -> float:
    """Share of a range's width below which a share of its probability lies."""
    return share if ratio == 1 else math.expm1(share * math.log(ratio)) / (ratio - 1)


def _unbend(share: float, ratio: float) -> float:
    return share if ratio == 1 else math.log1p(share * (ratio - 1)) / math.log(ratio)


def _log_odds(share: float) -> float:
    return math.log(share) - math.log1p(-share)


def _exponent(power: int) -> int:
    return int(power).bit_length() - 1


def _no_power(value: int) -> str | None:
    return None if value > 0 and value & (value - 1) == 0 else f"must be a power of two, got {value}"
