"""Bells: numbers that are likelier near their mean."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

from pydantic import JsonValue

from metta.sweep.contracts.distribution import BELOW_ONE, MOST, Distribution, is_number, no_number

_ABOVE_ZERO = 2.0**-53


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Bell(Distribution):
    """Numbers whose image on some scale is normally distributed, cut off at bounds."""

    mean: float
    sd: float
    low: float | None = None
    high: float | None = None

    @abstractmethod
    def _scaled(self, value: float) -> float:
        """The image of a value."""

    @abstractmethod
    def _unscaled(self, image: float) -> float:
        """The value of an image."""

    @abstractmethod
    def _bound_problems(self, name: str, bound: float) -> list[str]: ...

    def _size(self) -> int | None:
        return 1 if self.low is not None and self.low == self.high else None

    def _problems(self) -> list[str]:
        bounds = {k: v for k in ("low", "high") if (v := getattr(self, k)) is not None}
        numbers = {"mean": self.mean, "sd": self.sd, **bounds}
        found = [f"{k} {p}" for k, v in numbers.items() if (p := no_number(v, float))]
        if found:
            return found
        if self.sd <= 0:
            found.append(f"sd must be above 0, got {self.sd}")
        found += [problem for k, v in bounds.items() for problem in self._bound_problems(k, v)]
        if self.low is not None and self.high is not None and self.low > self.high:
            found.append(f"low must be at most high, got low={self.low} and high={self.high}")
        # so far out, floats no longer tell one probability from the next
        if not found and bounds and self._size() is None and self._share()[1] - self._share()[0] < 1e-9:
            found.append(f"hardly anything of the bell lies between the bounds, got {self!r}")
        return found

    def _from_unit(self, u: float) -> float:
        below, upto = self._share()
        share = min(max(below + u * (upto - below), _ABOVE_ZERO), BELOW_ONE)
        value = self._unscaled(self._bell().inv_cdf(share))
        low = -MOST if self.low is None else self.low
        high = MOST if self.high is None else self.high
        return float(min(max(value, low), high))

    def _to_unit(self, value: float) -> float:
        below, upto = self._share()
        return (self._bell().cdf(self._scaled(value)) - below) / (upto - below) if below < upto else 0.5

    def _check(self, value: JsonValue) -> str | None:
        if (problem := no_number(value, float)) or not is_number(value):
            return problem
        if self.low is not None and value < self.low:
            return f"must be at least {self.low}, got {value}"
        if self.high is not None and value > self.high:
            return f"must be at most {self.high}, got {value}"
        return next(iter(self._bound_problems("it", value)), None)

    def _bell(self) -> NormalDist:
        return NormalDist(self.mean, self.sd)

    def _share(self) -> tuple[float, float]:
        """Probabilities of the untruncated bell below its bounds."""
        bell = self._bell()
        below = 0.0 if self.low is None else bell.cdf(self._scaled(self.low))
        return below, 1.0 if self.high is None else bell.cdf(self._scaled(self.high))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Normal(_Bell):
    """Real numbers, normally distributed.

    Args:
        mean: The likeliest value, when the bounds are no nearer.
        sd: Standard deviation before it is cut off, above 0.
        low: Least value; None cuts nothing off.
        high: Greatest value; None cuts nothing off.
        center, scale, when: See ``Distribution``.
    """

    kind: ClassVar[str] = "normal"

    def _scaled(self, value: float) -> float:
        return value

    def _unscaled(self, image: float) -> float:
        return image

    def _bound_problems(self, name: str, bound: float) -> list[str]:
        return []


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogNormal(_Bell):
    """Numbers above 0 whose logarithm is normally distributed.

    Args:
        mean: Mean of the natural logarithm; the median of the values is ``exp(mean)``.
        sd: Standard deviation of the natural logarithm, above 0.
        low: Least value, above 0; None cuts nothing off.
        high: Greatest value; None cuts nothing off.
        center, scale, when: See ``Distribution``.
    """

    kind: ClassVar[str] = "log_normal"

    def _scaled(self, value: float) -> float:
        return math.log(value)

    def _unscaled(self, image: float) -> float:
        return math.exp(min(image, math.log(MOST)))

    def _bound_problems(self, name: str, bound: float) -> list[str]:
        subject = "" if name == "it" else f"{name} "
        return [] if bound > 0 else [f"{subject}must be above 0, got {bound}"]
