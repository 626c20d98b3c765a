"""Search spaces: parameters by name, and when each of them counts.

A parameter is active where all its conditions hold and the parameters they refer to are active. A
condition is given by ``when=``, or by prefix: where a ``Choice`` of the space has the value "cnn",
each ``cnn.*`` is active only with it, unless its ``when`` says something else about that choice.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, fields
from graphlib import CycleError, TopologicalSorter
from random import Random
from typing import Any, NamedTuple, Self

from pydantic import GetCoreSchemaHandler, JsonValue
from pydantic_core import CoreSchema, core_schema

from metta.sweep.contracts.distributions import TYPES, Choice, Constant, Distribution, same
from metta.sweep.contracts.errors import SpaceError, nearest, shown

_NAME = re.compile(r"[\w/-]+(\.[\w/-]+)*")


class Condition(NamedTuple):
    """A parameter, and the values of it with which another one is active."""

    parameter: str
    values: tuple[JsonValue, ...]

    def holds(self, params: Mapping[str, JsonValue]) -> bool:
        """Whether the parameter is there and has one of the values."""
        name = self.parameter
        return name in params and any(same(params[name], value) for value in self.values)

    def __str__(self) -> str:
        return " or ".join(f"{self.parameter}={value!r}" for value in self.values)


class SearchSpace(Mapping[str, Distribution]):
    """Parameters by name, with their distributions; it never changes.

    Two spaces are equal only with the same order of parameters, for it decides what a seed draws.

    Args:
        parameters: A distribution for each name; names may have dots (``trainer.learning_rate``).
        constraints: Not supported yet, must be empty.

    Raises:
        SpaceError: With every mistake.

    >>> space = SearchSpace({"model": Choice(["cnn", "mlp"]), "cnn.layers": Choice([1, 2])})
    >>> space.active({"model": "mlp"})
    ['model']
    """

    __slots__ = ("_conditional", "_conditions", "_order", "_parameters")

    def __init__(self, parameters: Mapping[str, Distribution], constraints: Sequence[str] = ()) -> None:
        self._conditions, problems = _examined(parameters, constraints)
        if problems:
            raise SpaceError(problems)
        # a copy, because a Choice may hold lists that its maker goes on to change
        self._parameters = deepcopy(dict(parameters))
        self._order, _ = _ordered(self._conditions)
        self._conditional = [(n, found) for n in self._order if (found := self._conditions[n])]

    @classmethod
    def of(cls, value: Mapping[str, Distribution | JsonValue]) -> Self:
        """A space from a space, a mapping of distributions, or the JSON form.

        Raises:
            SpaceError: With every mistake.
        """
        return value if isinstance(value, cls) else cls.from_json(value)

    @classmethod
    def from_json(cls, obj: Mapping[str, Distribution | JsonValue]) -> Self:
        """A space from what ``to_json`` gives, or from its ``parameters`` alone.

        Raises:
            SpaceError: With every mistake: unknown names with the nearest one, wrong values.
        """
        parameters, constraints, problems = _parts(obj)
        read = {name: _read(value) for name, value in parameters.items()}
        if problems := [*problems, *_examined(read, constraints)[1]]:
            raise SpaceError(problems)
        return cls({name: d for name, d in read.items() if isinstance(d, Distribution)})

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters in their order."""
        return tuple(self._parameters)

    @property
    def conditions(self) -> Mapping[str, Sequence[Condition]]:
        """What each parameter needs to be active; nothing for one that always is."""
        return self._conditions

    def active(self, params: Mapping[str, JsonValue]) -> list[str]:
        """Parameters that are active with these values, in their order.

        Args:
            params: Values by name; a missing one fulfils no condition.
        """
        off: set[str] = set()
        # a parameter comes after the ones it refers to
        for name, conditions in self._conditional:
            if not all(c.parameter not in off and c.holds(params) for c in conditions):
                off.add(name)
        return [name for name in self._parameters if name not in off]

    @property
    def is_conditional(self) -> bool:
        """Whether some parameters are active only with certain values of others."""
        return bool(self._conditional)

    def draw(self, value: Callable[[str], JsonValue]) -> dict[str, JsonValue]:
        """Draw the active parameters one by one, each after those that decide whether it is active.

        Args:
            value: Draws the value of a parameter; not called for inactive ones.
        """
        drawn: dict[str, JsonValue] = {}
        for name in self._order:
            if all(condition.holds(drawn) for condition in self._conditions[name]):
                drawn[name] = value(name)
        return {name: drawn[name] for name in self._parameters if name in drawn}

    def sample(self, rng: Random, fixed: Mapping[str, JsonValue] | None = None) -> dict[str, JsonValue]:
        """Draw the active parameters at random.

        Args:
            rng: One number is drawn per parameter, in their order and for inactive ones too, so no
                value depends on what is active before it.
            fixed: Values that are taken instead of drawn ones.
        """
        random = rng.random
        drawn = {n: d.from_unit(random()) for n, d in self._parameters.items()}
        return self._of_active({**drawn, **fixed} if fixed else drawn)

    def from_unit(self, point: Mapping[str, float]) -> dict[str, JsonValue]:
        """The active parameters at a point of the unit cube.

        Args:
            point: A number in [0, 1) for each name, also for those that turn out to be inactive.

        Raises:
            SpaceError: When names are missing.
        """
        if missing := [f"{name} is missing" for name in self if name not in point]:
            raise SpaceError(missing, "the point")
        return self._of_active({n: d.from_unit(point[n]) for n, d in self._parameters.items()})

    def validate(self, params: Mapping[str, JsonValue], partial: bool = False) -> None:
        """Check that parameters are in the space.

        Args:
            params: Values of exactly the active parameters.
            partial: Whether some of them may be missing; what makes the others active may not.

        Raises:
            SpaceError: With every mistake: missing, unknown, inactive or outside of the bounds.
        """
        strange = [name for name in params if name not in self._parameters]
        problems = [f"{name} is unknown{nearest(str(name), self.names)}" for name in strange]
        active = set(self.active(params))
        for name, distribution in self._parameters.items():
            if name not in params:
                if name in active and not partial:
                    problems.append(f"{name} is missing; it is {distribution!r}")
            elif name not in active:
                problems.append(self._inactive(name, params, active))
            elif problem := distribution.check(params[name]):
                problems.append(f"{name} {problem}")
        if problems:
            raise SpaceError(problems, "the parameters")

    def to_json(self) -> dict[str, JsonValue]:
        """The space as JSON; ``from_json`` reads it."""
        return {"parameters": {n: d.to_json() for n, d in self.items()}, "constraints": []}

    def _of_active(self, drawn: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {n: drawn[n] for n in self.active(drawn)} if self._conditional else drawn

    def _inactive(self, name: str, params: Mapping[str, JsonValue], active: set[str]) -> str:
        unmet = [c for c in self._conditions[name] if c.parameter not in active or not c.holds(params)]
        needs, ref = str(unmet[0]), unmet[0].parameter
        got = f"got {shown(params[ref])}" if ref in params else f"{ref} is missing"
        got = got if ref in active else f"{ref} is inactive itself"
        return f"{name} is inactive, leave it out: it needs {needs}, but {got}"

    def __getitem__(self, name: str) -> Distribution:
        return self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and list(self.items()) == list(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return f"SearchSpace({self._parameters!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A field of this type takes what ``of`` takes; it is written by ``to_json``."""
        return core_schema.no_info_plain_validator_function(
            cls.of,
            json_schema_input_schema=core_schema.dict_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_json),
        )


_Conditions = dict[str, list[Condition]]


class _Unreadable(list[str]):
    """What is wrong with the JSON of a distribution; other parameters may still refer to it."""


def _examined(parameters: object, constraints: object) -> tuple[_Conditions, list[str]]:
    """What each parameter needs to be active, and all mistakes of the space."""
    if not isinstance(parameters, Mapping):
        return {}, [f"a space must be a dict of distributions, got {shown(parameters)}"]
    conditions, wrong = _conditions(parameters)
    problems = [
        *(f"{name}: {p}" for name, value in parameters.items() for p in _entry(name, value)),
        *wrong,
        *(
            f"conditions form a cycle, drop one of them: {' needs '.join(cycle)}"
            for cycle in _ordered(conditions)[1]
        ),
    ]
    if not parameters:
        problems.append("it has no parameter; give it one, such as {'lr': LogUniform(1e-4, 0.1)}")
    if constraints:
        hint = "raise Infeasible in the objective instead"
        problems.append(f"constraints are not supported yet, got {shown(constraints)}; {hint}")
    return conditions, problems


def _entry(name: object, value: object) -> list[str]:
    """What is wrong with a name and with what stands under it."""
    named = isinstance(name, str) and _NAME.fullmatch(name)
    rule = "a name must be letters, digits, _, - and /, with dots between parts"
    problems = [] if named else [f"{rule}, got {name!r}"]
    if isinstance(value, Distribution):
        return problems + value.problems()
    return problems + (value if isinstance(value, _Unreadable) else [_stranger(name, value)])


def _stranger(name: object, value: object) -> str:
    """What to write instead of a value that is not a distribution."""
    if isinstance(value, type) and issubclass(value, Distribution):
        return f"{value.__name__} is a class; call it with arguments"
    if isinstance(value, Mapping):
        if "type" in value:
            return "a dict is not a distribution; SearchSpace.from_json reads spaces in JSON"
        inner = next(iter(value), "inner")
        return f"a nested dict is not a distribution; write full names, such as '{name}.{inner}'"
    if isinstance(value, (list, tuple)):
        return f"{shown(value)} is not a distribution; write {_both_ways(Choice(list(value)))}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return f"{shown(value)} is not a distribution; write {_both_ways(Constant(value))}"
    names = ", ".join(cls.__name__ for cls in TYPES.values())
    return f"{shown(value)} is not a distribution; use one of {names}"


def _both_ways(distribution: Distribution) -> str:
    in_json = json.dumps(distribution.to_json(), default=repr)
    return f"{distribution!r}, or in JSON {in_json}"


def _conditions(parameters: Mapping[str, object]) -> tuple[_Conditions, list[str]]:
    """What each parameter needs to be active, and what is wrong with that."""
    distributions = {n: d for n, d in parameters.items() if isinstance(d, Distribution)}
    sound = {n: d for n, d in distributions.items() if not d.problems()}
    owners = _owners(sound)
    conditions: _Conditions = {name: [] for name in parameters}
    problems: list[str] = []
    shared: defaultdict[str, list[str]] = defaultdict(list)
    for name, distribution in distributions.items():
        conditions[name], wrong = _explicit(distribution.when, parameters, sound)
        problems += [f"{name}: {problem}" for problem in wrong]
        said = {condition.parameter for condition in conditions[name]}
        for prefix in _prefixes(name):
            choices = owners.get(prefix, [])
            if len(choices) == 1 and said.isdisjoint(choices):
                conditions[name].append(Condition(choices[0], (prefix,)))
            elif choices and said.isdisjoint(choices):
                shared[prefix].append(name)
    for prefix, names in shared.items():
        both = f"the prefix {prefix!r} is a value of {' and '.join(owners[prefix])}"
        hint = f"say which is meant, as in when={ {owners[prefix][0]: prefix}!r}"
        problems.append(f"{', '.join(names)}: {both}; {hint}")
    return conditions, problems


def _owners(distributions: Mapping[str, Distribution]) -> dict[str, list[str]]:
    """The choices that have a string among their values."""
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for name, distribution in distributions.items():
        for value in distribution.values if isinstance(distribution, Choice) else ():
            if isinstance(value, str):
                owners[value].append(name)
    return owners


def _prefixes(name: object) -> list[str]:
    """What stands before each dot: cnn and cnn.head in cnn.head.size."""
    parts = str(name).split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


def _explicit(
    when: object, parameters: Mapping[str, object], sound: Mapping[str, Distribution]
) -> tuple[list[Condition], list[str]]:
    """The conditions of ``when=``, and what is wrong with them."""
    if when is not None and not isinstance(when, Mapping):
        return [], [f"when must be a dict of names and values, got {shown(when)}"]
    conditions: list[Condition] = []
    problems: list[str] = []
    for name, wanted in (when or {}).items():
        if name not in parameters:
            known = nearest(str(name), list(map(str, parameters)))
            problems.append(f"when refers to {name!r}, which is unknown{known}")
            continue
        target = sound.get(name)
        conditions.append(Condition(name, values := _alternatives(wanted, target)))
        if not values:
            problems.append(f"when={ {name: wanted}!r} is never true; name at least one value")
        elif target and target.size is None:
            problems.append(f"in when, {name} is continuous; a condition needs separate values")
        elif target:
            problems += [f"in when, {name} {p}" for v in values if (p := target.check(v))]
    return conditions, problems


def _alternatives(wanted: JsonValue, target: Distribution | None) -> tuple[JsonValue, ...]:
    """A list means any of its values, unless it is a value itself."""
    if isinstance(wanted, (list, tuple)) and (target is None or target.check(list(wanted))):
        return tuple(wanted)
    return (wanted,)


def _ordered(conditions: _Conditions) -> tuple[list[str], list[list[str]]]:
    """Parameters after the ones they refer to, and the cycles that were cut for that."""
    graph = {name: [c.parameter for c in found] for name, found in conditions.items()}
    cycles: list[list[str]] = []
    while True:
        try:
            return list(TopologicalSorter(graph).static_order()), cycles
        except CycleError as error:
            cycles.append(error.args[1][::-1])
            graph |= {name: [] for name in cycles[-1]}


def _parts(obj: object) -> tuple[Mapping[str, object], object, list[str]]:
    """Parameters and constraints of a space in JSON, and what it should not have."""
    if not isinstance(obj, Mapping):
        raise SpaceError([f"a space must be a dict of distributions, got {shown(obj)}"])
    inner = obj.get("parameters")
    # a parameter may be called "parameters" too; it has a type
    if not isinstance(inner, Mapping) or isinstance(inner.get("type"), str):
        return obj, (), []
    known = ["parameters", "constraints"]
    unknown = [f"{key} is unknown{nearest(str(key), known)}" for key in obj if key not in known]
    return inner, obj.get("constraints"), unknown


def _read(value: object) -> object:
    """A distribution from its JSON, or what stands for one that cannot be read."""
    if not isinstance(value, Mapping):
        return value
    if "type" not in value:
        nested = any(isinstance(inner, (Mapping, Distribution)) for inner in value.values())
        missing = f"type is missing in {shown(value)}. Known: {', '.join(sorted(TYPES))}"
        return value if nested else _Unreadable([missing])
    kind = value["type"]
    if not isinstance(kind, str) or kind not in TYPES:
        return _Unreadable([f"type {kind!r} is unknown{nearest(str(kind), list(TYPES))}"])
    known = {f.name: f for f in fields(TYPES[kind]) if f.init}
    given: dict[str, Any] = {key: inner for key, inner in value.items() if key != "type"}
    wrong = [f"{k} is unknown{nearest(str(k), list(known))}" for k in given if k not in known]
    absent = [k for k, f in known.items() if f.default is MISSING and k not in given]
    if absent:
        return _Unreadable([*wrong, *(f"{name} is missing" for name in absent)])
    made = TYPES[kind](**{k: v for k, v in given.items() if k in known})
    return _Unreadable([*wrong, *made.problems()]) if wrong else made
