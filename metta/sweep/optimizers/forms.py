"""Forms: optimizers as JSON, from which any process makes them again.

A form is the optimizer's spec, and what it was asked and told by hand: to make it again is to make it of
the spec, and to repeat the calls. It grows with the calls: by the parameters of a trial and about 50 bytes
for each observation, and by 15 bytes for each ask of an optimizer that is not ``stateless``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pydantic import Field, GetCoreSchemaHandler, JsonValue, SerializationInfo, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from metta.sweep.contracts.components import ComponentSpec, Configured, Refer, create, load
from metta.sweep.contracts.errors import DefinitionError, SweepError, shown
from metta.sweep.contracts.models import Wire, parse
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.trials import Trial
from metta.sweep.optimizers.by_hand import (
    NOTES,
    calls_of,
    form_of_trial,
    noted_only,
    repeat,
    trial_of_form,
)

KeptT = TypeVar("KeptT", bound="Kept")

FLOWING = "_flowing"
"""Attribute with the trial that a stage has suggested last."""

MAKING = "making"
"""Key of ``Making`` in the context that pydantic is given."""


class Making(NamedTuple):
    """How optimizers are named and made again.

    Args:
        refer: Says where another process finds a class; None goes by its module.
        find: What such a reference leads to.
        repeats: Whether calls are repeated; an optimizer made without that can only be compared.
    """

    refer: Refer | None = None
    find: Callable[[str], Any] = load
    repeats: bool = True


class Form(Wire):
    """An optimizer as JSON.

    Args:
        type: Its registered name, or where its class is found.
        options: Its arguments.
        seed: The seed that it was given later; None when it has that of its arguments.
        next_number: Number of the trial that it suggests next.
        calls: What it was asked and told by hand.
        flowing: The trial that a stage has suggested last; None when none has.
    """

    type: str
    options: dict[str, JsonValue] = Field(default_factory=dict)
    seed: int | str | None = None
    next_number: int = 0
    calls: list[dict[str, JsonValue]] = Field(default_factory=list)
    flowing: dict[str, JsonValue] | None = None


class Kept(Configured):
    """What keeps its whole state as JSON: a field of an experiment may hold it.

    Two of them are equal when they are of one class and have the same form.
    """

    seed: int | str | None
    next_number: int
    stateless: bool

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            partial(_read, cls),
            serialization=core_schema.plain_serializer_function_ser_schema(_written, info_arg=True),
            json_schema_input_schema=core_schema.any_schema(),
        )

    def __eq__(self, other: object) -> bool:
        if self is other or type(self) is not type(other) or not isinstance(other, Kept):
            return self is other
        try:
            return form_of(self) == form_of(other)
        except DefinitionError:  # it has no form
            return False

    def __hash__(self) -> int:
        return hash(type(self))  # it changes with each call


def form_of(optimizer: Any, refer: Refer | None = None) -> dict[str, JsonValue]:
    """An optimizer as JSON.

    Raises:
        DefinitionError: When another process could not make it again.
    """
    spec: ComponentSpec = optimizer.spec(refer)
    later = None if optimizer.seed == optimizer._arguments.get("seed") else optimizer.seed
    flowing: Trial | None = vars(optimizer).get(FLOWING)
    rest = {
        "seed": later,
        "next_number": optimizer.next_number,
        "calls": calls_of(optimizer),
        "flowing": form_of_trial(flowing) if flowing else None,
    }
    return {"type": spec.type, "options": spec.options, **{name: item for name, item in rest.items() if item}}


def remade(kind: type[KeptT], form: Form, making: Making) -> KeptT:
    """An optimizer from its form.

    Raises:
        DefinitionError: When the class is unknown, or not of this kind, or its arguments are wrong.
    """
    made = create(kind, ComponentSpec(type=form.type, options=form.options), making.find)
    if form.seed is not None:
        object.__setattr__(made, "seed", form.seed)  # it may be a frozen dataclass
    if making.repeats:
        repeat(made, form.calls)
    elif form.calls:
        noted_only(made, form.calls)
    if form.next_number:
        object.__setattr__(made, "next_number", form.next_number)
    if form.flowing:
        object.__setattr__(made, FLOWING, trial_of_form(form.flowing))
    return made


def seeded(name: str, optimizer: Kept) -> None:
    """Give a new optimizer without a seed one that follows from a name."""
    if optimizer.seed is None and NOTES not in vars(optimizer):
        object.__setattr__(optimizer, "seed", derived_seed(name, 0, "optimizer"))


def _read(kind: type[Kept], value: Any, info: ValidationInfo) -> Kept:
    making: Making = (info.context or {}).get(MAKING, Making())
    try:
        if isinstance(value, kind):
            form_of(value, making.refer)
            return value
        return remade(kind, _form(kind, value), making)
    except DefinitionError as error:
        raise ValueError("\n".join(error.problems)) from error
    except SweepError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # it is the user's code
        name = value.get("type") if isinstance(value, dict) else value
        problem = f"{name} cannot be brought to where it was: {type(error).__name__}: {error}"
        raise ValueError(problem) from error


def _form(kind: type[Kept], data: Any) -> Form:
    """A form as people write it, too: a name alone, or the options beside the type."""
    what = kind.__name__
    match data:
        case str():
            return Form(type=data)
        case {"type": str(name), **options} if "options" not in options:
            return Form(type=name, options=options)
        case {"type": _, "options": _}:
            return parse(Form, data, what)
        case type():
            raise DefinitionError([f"{data.__name__} is a class; call it: {data.__name__}()"], what)
        case Kept():
            raise DefinitionError([f"it has to be of the class {what}, got {type(data).__name__}"], what)
    example = '{"type": "random", "options": {"seed": 1}}'
    raise DefinitionError([f"give an optimizer, its name, or an object such as {example}, got {shown(data)}"])


def _written(optimizer: Any, info: SerializationInfo) -> dict[str, JsonValue]:
    making: Making = (info.context or {}).get(MAKING, Making())
    return form_of(optimizer, making.refer)
