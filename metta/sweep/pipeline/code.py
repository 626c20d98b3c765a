"""Code: what a cache goes by of a callable, which is its code and all that it holds."""

from collections.abc import Iterator
from functools import partial
from inspect import unwrap
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from metta.sweep.contracts.fingerprints import fingerprint_of
from metta.sweep.pipeline.late import held_by


def code_of(value: Any, around: tuple[int, ...] = ()) -> Any:
    """A value to be packed, with what changes with the code in place of each callable in it.

    That is the source that is reached, the code itself (two lambdas may stand on one line), and what is held:
    defaults, variables of functions around it, arguments of a partial, attributes of a callable object.

    >>> def times(n):
    ...     return lambda x: x * n
    >>> code_of(times(1)) == code_of(times(1)), code_of(times(1)) == code_of(times(2))
    (True, False)

    Args:
        value: A callable, or what one holds.
        around: Identities of the values around it.
    """
    if id(value) in around:
        return "around", len(around) - around.index(id(value))
    inside = (*around, id(value))
    if type(value) in (list, tuple):
        return type(value)(code_of(item, inside) for item in value)
    if type(value) is dict:
        return {key: code_of(item, inside) for key, item in value.items()}
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if callable(value):
        name = getattr(value, "__qualname__", None) or type(value).__qualname__
        return fingerprint_of(value), name, code_of(list(_held(value)), inside)
    return value


def _held(run: Any) -> Iterator[Any]:
    match run:
        case partial():
            yield from (run.func, run.args, run.keywords)
        case MethodType():
            yield from (run.__func__, _owned(run.__self__))
        case FunctionType() if (held := held_by(run)) is not None:
            yield from (unwrap(run), _owned(held.value))
        case FunctionType():
            cells = [_content(cell) for cell in run.__closure__ or ()]
            yield from (_instructions(run.__code__), run.__defaults__, run.__kwdefaults__, cells)
        case type():
            if "<locals>" in run.__qualname__:  # its methods may use variables of the function around it
                yield from (method for method in vars(run).values() if isinstance(method, FunctionType))
        case _:
            yield from (type(run), getattr(run, "__module__", None), _owned(run))


def _owned(owner: Any) -> Any:
    """What an object holds: an experiment its fields; what is written in C what it is copied by."""
    if isinstance(owner, type):
        return owner
    if isinstance(getattr(type(owner), "fields", None), property):
        return owner.fields
    return vars(owner) if hasattr(owner, "__dict__") else owner.__reduce_ex__(2)


def _instructions(code: CodeType) -> Any:
    """Code without the lines at which it stands."""
    constants = [
        _instructions(c) if isinstance(c, CodeType) else "..." if c is ... else c for c in code.co_consts
    ]
    return [code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars]


def _content(cell: CellType) -> Any:
    try:
        return (cell.cell_contents,)
    except ValueError:  # nothing has been assigned yet
        return ()
