"""Base of all contracts: strict where people write them, lenient where machines exchange them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast, dataclass_transform, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic._internal._model_construction import ModelMetaclass

from metta.sweep.contracts.errors import DefinitionError, nearest, shown

ModelT = TypeVar("ModelT", bound=BaseModel)


class Wire(BaseModel):
    """A frozen value on the wire; fields it does not know are ignored, so old and new workers mix."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Written(Wire):
    """What programs write and people may write, too.

    Args:
        client: Stamp of the program that wrote it. JSON without it was written by a person, and is read
            strictly.
    """

    subject: ClassVar[str]
    """What it is called in errors."""

    client: str = ""

    @model_validator(mode="wrap")
    @classmethod
    def _strict_for_people(cls, data: Any, handler: ValidatorFunctionWrapHandler) -> Self:
        if isinstance(data, dict) and "client" not in data:
            return parse(cls, data | {"client": "json"}, cls.subject)
        return cast("Self", handler(data))


class Numbered(Wire):
    """A line of a log.

    Args:
        n: Its number, from 0.
        writer: Name of whoever wrote it: losing number ``n`` to oneself is a lost reply, not a loss.
    """

    n: int
    writer: str


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))  # pydantic's own is not inherited
class _EdgeType(ModelMetaclass):
    """Makes the constructor strict and its errors readable; validation of data stays pydantic's.

    A metaclass, because an own ``__init__`` would also be called for values on the wire.
    """

    if not TYPE_CHECKING:  # the checkers are to see the fields as arguments, not this signature

        def __call__(cls, *args: object, **fields: object) -> object:
            problems = [problem for name in fields if (problem := unknown_name(name, cls.model_fields))]
            if args:
                first = next(iter(cls.model_fields))
                problems.append(f"give its values by name: {cls.__name__}({first}={shown(args[0])})")
            try:
                made = super().__call__(**fields)
            except ValidationError as error:
                problems += problems_of(error, cls)
            if problems:
                raise DefinitionError(problems, cls.__name__)
            return made


class Edge(Wire, metaclass=_EdgeType):
    """A value that people construct: a typo in a name is an error, and all mistakes are told at once."""


def parse(model: type[ModelT], data: object, subject: str) -> ModelT:
    """Validate what a person wrote, strictly.

    Args:
        model: The contract it is to fulfil.
        data: Plain JSON data.
        subject: What it is called in the error.

    Returns:
        The validated value.

    Raises:
        DefinitionError: With every mistake: unknown keys with the nearest name, wrong values.
    """
    try:
        return model.model_validate(data, extra="forbid")
    except ValidationError as error:
        raise DefinitionError(list(problems_of(error, model)), subject) from None


def unknown_name(name: str, known: Mapping[str, object] | Sequence[str]) -> str | None:
    """What is wrong with a name that is not known, or None."""
    return None if name in known else f"{name} is unknown{nearest(name, list(known))}"


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Pydantic's errors, one readable sentence each."""
    for detail in error.errors(include_url=False):
        # the members of a union have tags such as <job>, which nobody has written
        path = [str(part) for part in detail["loc"] if not str(part).startswith("<")]
        where = ".".join(path)
        if detail["type"] == "extra_forbidden":
            names = list(_fields_at(model, path[:-1]))
            yield f"{where} is unknown{nearest(path[-1], names)}"
        elif detail["type"] == "missing":
            yield f"{where} is missing"
        elif detail["type"] == "value_error":
            for line in str(detail.get("ctx", {}).get("error")).splitlines():
                yield f"{where}: {line}" if where else line
        else:
            message = f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {shown(detail['input'])}"
            yield f"{where}: {message}" if where else message


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> Iterator[str]:
    """Names of the fields of the model found under a path of an error."""
    models = [model]
    for name in path:
        fields = [m.model_fields[name] for m in models if name in m.model_fields]
        # an index, or the member of a union that was tried, leads no deeper
        models = [m for field in fields for m in _models_in(field.annotation)] or models
    for found in models:
        yield from found.model_fields


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for member in get_args(annotation):
        yield from _models_in(member)


def json_ready(value: Any) -> Any:
    """A value in native JSON types: numpy's scalars and arrays become numbers and lists.

    >>> json_ready((1, {"a": 2.0}))
    [1, {'a': 2.0}]
    """
    if isinstance(value, Mapping):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(v) for v in value]
    # numpy is recognised by its own conversion, so that contracts need not import it
    return value.tolist() if hasattr(value, "tolist") else value
