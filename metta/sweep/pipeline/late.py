"""Late methods: methods of what the fields of an experiment hold, bound when they are called.

``pipeline()`` names ``self.helper.work`` once, and each stage finds another object in the field ``helper``:
the one that earlier stages have made of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial, reduce, update_wrapper
from inspect import Parameter, Signature, iscoroutinefunction, signature
from types import BuiltinMethodType, MethodType
from typing import Any, NamedTuple

from pydantic import BaseModel

from metta.sweep.pipeline.calls import Call, Calls


class Held(NamedTuple):
    """Something in a field, whatever it is at the moment.

    Args:
        owner: The experiment.
        field: Name of the field.
        way: From the field's value to what is meant: names of attributes, and keys in tuples of their own.
    """

    owner: Any
    field: str
    way: tuple[str | tuple[Any], ...] = ()

    @property
    def value(self) -> Any:
        """What it is now."""
        return reduce(_step, self.way, getattr(self.owner, self.field))

    def inside(self) -> "Iterator[Held]":
        """What lies in it."""
        for step, inner in _steps(self.value):
            if not isinstance(inner, _SCALARS):  # of which nothing lasts
                yield self._replace(way=(*self.way, step))

    def __str__(self) -> str:
        steps = (f".{step}" if isinstance(step, str) else f"[{step[0]!r}]" for step in self.way)
        return self.field + "".join(steps)


_SCALARS = (str, int, float, bytes, type(None), type)


def _steps(value: Any) -> Iterable[tuple[str | tuple[Any], Any]]:
    """The ways into a value, and what is there."""
    match value:
        case dict():
            return (((key,), item) for key, item in value.items())
        case list() | tuple():
            return (((index,), item) for index, item in enumerate(value))
        case BaseModel():
            return vars(value).items()
        case _ if is_dataclass(value):
            return ((field.name, getattr(value, field.name, None)) for field in fields(value))
    return ()


def _step(value: Any, step: str | tuple[Any]) -> Any:
    return getattr(value, step) if isinstance(step, str) else value[step[0]]


def late(calls: tuple[Call, ...], owner: Any) -> tuple[Call, ...]:
    """Calls whose stages, hooks and predicates use what fields hold when they are called.

    Args:
        calls: Those of the pipeline of an experiment.
        owner: The experiment, as it was when it made the pipeline.
    """
    places = _places(owner)
    return tuple(_late(call, places) for call in calls)


def _places(owner: Any) -> dict[int, Held]:
    """What fields hold and all that lies in it, of which there may be methods, by its identity."""
    places: dict[int, Held] = {}
    waiting = [Held(owner, name) for name in vars(owner)]
    while waiting:
        held = waiting.pop()
        value = held.value
        if not isinstance(value, _SCALARS) and id(value) not in places:
            places[id(value)] = held
            waiting += held.inside()
    return places


def _late(said: Any, places: Mapping[int, Held]) -> Any:
    """Something that was said to the builder, with late methods in it."""
    match said:
        case _ if isinstance(said, Call):
            names = [field.name for field in fields(said) if field.name != "site"]
            return replace(said, **{name: _late(getattr(said, name), places) for name in names})
        case Calls():
            return Calls(tuple(_late(call, places) for call in said.calls))
        case Mapping():
            return {name: _late(item, places) for name, item in said.items()}
        case list():
            return [_late(item, places) for item in said]
        case partial():
            return partial(_late(said.func, places), *said.args, **said.keywords)
        case MethodType() | BuiltinMethodType() if held := places.get(id(said.__self__)):
            return _late_method(said, held)
        case _ if callable(said) and (held := places.get(id(said))):
            return _late_method(said.__call__, held)
    return said


def _late_method(method: Any, held: Held) -> Callable[..., Any]:
    """A function that calls the same method of what is held when it is called."""
    name = method.__name__

    def run(*args: Any, **named: Any) -> Any:
        return getattr(held.value, name)(*args, **named)

    async def arun(*args: Any, **named: Any) -> Any:
        return await getattr(held.value, name)(*args, **named)

    made: Any = update_wrapper(arun if iscoroutinefunction(method) else run, _function_of(method))
    made.__signature__ = _signature_of(method)
    made.__held__ = held
    return made  # type: ignore[no-any-return] # it is one of those above


def _function_of(method: Any) -> Any:
    return getattr(method, "__func__", method)


def _signature_of(method: Any) -> Signature:
    """That of the method without what it is bound to; some that are written in C tell nothing."""
    try:
        return signature(method)
    except ValueError:
        return Signature([Parameter("data", Parameter.POSITIONAL_ONLY)])


def held_by(run: Any) -> Held | None:
    """What a late method is one of; None for anything else."""
    held: Held | None = getattr(run, "__held__", None)
    return held
