"""Categories: separate values of any kind."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import JsonValue

from metta.sweep.contracts.distribution import Distribution, no_json, same
from metta.sweep.contracts.errors import shown


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Listed(Distribution):
    """One of some values, all equally likely.

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
        strange = [f"values must be JSON, got {p}" for v in values if (p := no_json(v))]
        return strange + [f"values must differ, got {shown(v)} more than once" for v in _repeated(values)]

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


def _repeated(values: Iterable[object]) -> Iterator[object]:
    """Those that came before; compared only with those of the same mark, for there may be many."""
    seen: dict[object, list[object]] = {}
    for value in values:
        alike = seen.setdefault(_mark(value), [])
        if any(same(value, other) for other in alike):
            yield value
        alike.append(value)


def _mark(value: object) -> object:
    """Something to look a value up by: equal for values that are the same."""
    if isinstance(value, list):
        return tuple(map(_mark, value))
    if isinstance(value, dict):
        return frozenset((name, _mark(item)) for name, item in value.items())
    return value if isinstance(value, Hashable) else None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Choice(_Listed):
    """One of some values, all equally likely and in no order.

    Args:
        values: Any JSON values, all different.
        center, scale, when: See ``Distribution``.
    """

    kind: ClassVar[str] = "choice"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ordinal(_Listed):
    """One of some values, all equally likely, from the least to the greatest: neighbours are alike.

    Args:
        values: Any JSON values, all different, in their order.
        center, scale, when: See ``Distribution``.
    """

    kind: ClassVar[str] = "ordinal"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Constant(Distribution):
    """A single value, handed to each trial.

    Args:
        value: Any JSON value.
        when: See ``Distribution``.
    """

    kind: ClassVar[str] = "constant"

    value: JsonValue
    # there is nothing to search around
    center: JsonValue = field(default=None, init=False)
    scale: float | None = field(default=None, init=False)

    def _size(self) -> int:
        return 1

    def _problems(self) -> list[str]:
        return [f"value must be JSON, got {p}"] if (p := no_json(self.value)) else []

    def _from_unit(self, u: float) -> JsonValue:
        return deepcopy(self.value)

    def _to_unit(self, value: JsonValue) -> float:
        return 0.5

    def _check(self, value: JsonValue) -> str | None:
        wrong = not same(self.value, value)
        return f"must be {shown(self.value)}, got {shown(value)}" if wrong else None
