"""Binding: how what flows reaches the parameters of a stage."""

import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass
from inspect import Parameter
from typing import Any, NamedTuple

from metta.sweep.contracts.errors import nearest
from metta.sweep.pipeline.annotations import FieldType, accepts, hints_of, type_text, wrong_field
from metta.sweep.pipeline.conversion import Mismatch, conform
from metta.sweep.pipeline.flows import Flow
from metta.sweep.pipeline.records import Record, fields_of, replaced

ITERATION = "iteration"
"""The field that counts the turns of a loop, from 0."""


class Form(NamedTuple):
    """The parameters of a callable that the flow is to fill.

    Args:
        required: Those without a default.
        optional: Those with one.
        takes_all: Whether it takes any field by name.
        hints: Their annotations.
    """

    required: tuple[Parameter, ...]
    optional: tuple[Parameter, ...]
    takes_all: bool
    hints: Mapping[str, Any]

    @property
    def whole(self) -> Parameter | None:
        """The only parameter, which may take all that flows."""
        return self.required[0] if len(self.required) == 1 else None

    def hint(self, parameter: Parameter) -> Any:
        """What a parameter is declared to take."""
        return self.hints.get(parameter.name, Any)

    def takes_field(self, parameter: Parameter, flow: Flow) -> bool:
        """Whether a parameter takes the field of its name, rather than all that flows."""
        if flow.fields is None or parameter.name not in flow.fields:
            return parameter != self.whole
        if parameter != self.whole or accepts(self.hint(parameter), flow.fields[parameter.name].type):
            return True
        return not flow.fits(self.hint(parameter))


_ONE = Parameter("data", Parameter.POSITIONAL_ONLY)


def form_of(function: Any) -> Form:
    """How a callable is to be called."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables written in C tell nothing
        return Form((_ONE,), (), False, {})
    named = [p for p in parameters if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)]
    required = tuple(p for p in named if p.default is p.empty)
    takes_all = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
    if not named and not takes_all and parameters:
        return Form((_ONE,), (), False, {})
    optional = tuple(p for p in named if p.default is not p.empty)
    return Form(required, optional, takes_all, hints_of(function))


def problems_of_binding(function: Any, flow: Flow) -> list[str]:
    """Why a stage cannot accept what flows, one sentence each."""
    form = form_of(function)
    if form.whole and not form.takes_field(form.whole, flow):
        hint = form.hint(form.whole)
        return [
            f"it takes {form.whole.name}: {type_text(hint)}, but {flow} flows: {reason}"
            for reason in flow.reasons(hint)
        ]
    if flow.fields is None:
        names = ", ".join(p.name for p in form.required)
        return [] if flow.is_unknown or not names else [f"it takes {names}, but {flow} flows, without fields"]
    return [*_missing(form, flow.fields, flow), *_wrong(form, flow.fields)]


def _missing(form: Form, fields: Mapping[str, FieldType], flow: Flow) -> list[str]:
    return [
        f"it takes {p.name}, but {flow} flows, which has no such field{nearest(p.name, list(fields))}"
        for p in form.required
        if p.name not in fields
    ]


def _wrong(form: Form, fields: Mapping[str, FieldType]) -> list[str]:
    return [
        wrong_field(p.name, form.hint(p), fields[p.name].type)
        for p in (*form.required, *form.optional)
        if p.name in fields and not accepts(form.hint(p), fields[p.name].type)
    ]


def in_loop(flow: Flow) -> Flow:
    """The same flow inside a loop, where its turns can be asked for by name."""
    if flow.is_unknown:
        return flow
    return Flow(flow.type, {ITERATION: FieldType(int), **(flow.fields or {})})


class Call(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...]
    named: Mapping[str, Any]


def with_iteration(value: Any, turns: tuple[int, ...]) -> Any:
    """What a stage in a loop gets of its own value: ``ctx.iteration``, wherever there is room for it."""
    fields = fields_of(value)
    if not turns or fields is None:
        return value
    if ITERATION in fields or isinstance(value, Record | Mapping):
        return replaced(value, {ITERATION: turns[-1]})
    if is_dataclass(value) and hasattr(value, "__dict__"):
        object.__setattr__(
            value, ITERATION, turns[-1]
        )  # an attribute beside its fields: it equals what it was
    return value


def without_iteration(result: Any, before: Any, turns: tuple[int, ...]) -> Any:
    """What a stage in a loop gave, without the turn's number that it was given."""
    fields = (isinstance(result, Record | dict) and fields_of(result)) or {}
    if not turns or ITERATION not in fields or ITERATION in (fields_of(before) or {}):
        return result
    del fields[ITERATION]
    return Record(**fields) if isinstance(result, Record) else fields


class Turn:
    """What a predicate of a loop sees of a value that has no field for the number of the turn."""

    def __init__(self, value: Any, iteration: int) -> None:
        self._value, self.iteration = value, iteration

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)


def asked(predicate: Any, value: Any, turns: tuple[int, ...]) -> Call:
    """The arguments with which a predicate takes a value; ``ctx.iteration`` works whatever its class.

    Raises:
        Mismatch: When it cannot.
    """
    form, call = form_of(predicate), bound(predicate, value, turns)
    needs_turn = turns and form.whole and form.hint(form.whole) is Any and call.args
    if not needs_turn or hasattr(call.args[0], ITERATION):
        return call
    if fields_of(call.args[0]) is None and call.args[0] is not None:  # a record may be begun with nothing
        return call
    return Call((Turn(call.args[0], turns[-1]),), call.named)


def bound(function: Any, value: Any, turns: tuple[int, ...] = ()) -> Call:
    """The arguments with which a callable takes a value.

    Raises:
        Mismatch: When it cannot.
    """
    form = form_of(function)
    if call := _over_default(form, value, turns):
        return call
    value = with_iteration(value, turns)
    fields = fields_of(value)
    if turns:
        fields = {**(fields or {}), ITERATION: turns[-1]}
    if form.whole and not form.takes_field(form.whole, _flow_of_value(value, fields)):
        return _with_options(form, conform(value, form.hint(form.whole)), fields or {})
    if fields is None and form.required:
        raise Mismatch([f"{p.name} is missing" for p in form.required], "its parameters")
    return _by_name(form, fields or {})


def _flow_of_value(value: Any, fields: Mapping[str, Any] | None) -> Flow:
    if fields is None:
        return Flow(type(value))
    return Flow(type(value), {name: FieldType(type(field)) for name, field in fields.items()})


def _with_options(form: Form, whole: Any, fields: Mapping[str, Any]) -> Call:
    named = {p.name: conform(fields[p.name], form.hint(p)) for p in form.optional if p.name in fields}
    first = _by_position(form.optional, named)
    if form.whole is not None and form.whole.kind is Parameter.KEYWORD_ONLY:
        return Call(first, {form.whole.name: whole, **named})
    return Call((whole, *first), named)


def _by_position(parameters: tuple[Parameter, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Takes out the arguments that have to be given by position."""
    return tuple(named.pop(p.name, p.default) for p in parameters if p.kind is Parameter.POSITIONAL_ONLY)


def _over_default(form: Form, value: Any, turns: tuple[int, ...]) -> Call | None:
    """The call of a function whose only parameter has a default, when it takes all that flows instead.

    What has fields is taken only where the annotation says so: they may be meant for other stages.
    """
    if form.required or len(form.optional) != 1 or value is None:
        return None
    (p,), fields = form.optional, fields_of(value)
    if fields is not None and (form.hint(p) is Any or p.name in fields):
        return None
    if turns and p.name == ITERATION:
        return None
    try:
        named = {p.name: conform(value, form.hint(p))}
    except Mismatch:
        return None
    return Call(_by_position((p,), named), named)


def _by_name(form: Form, fields: Mapping[str, Any]) -> Call:
    problems, named = [], {}
    for p in (*form.required, *form.optional):
        if p.name not in fields:
            if p in form.required:
                problems.append(f"{p.name} is missing{nearest(p.name, list(fields))}")
            continue
        try:
            named[p.name] = conform(fields[p.name], form.hint(p))
        except Mismatch as error:
            problems += [f"{p.name}: {problem}" for problem in error.problems]
    if problems:
        raise Mismatch(problems, "its parameters")
    first = _by_position((*form.required, *form.optional), named)
    return Call(first, {**fields, **named} if form.takes_all else named)
