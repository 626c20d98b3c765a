"""Scopes: which sweep, trial or stage the code that runs here is about."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.experiments import Order

Names: TypeAlias = Mapping[str, str | int]
"""What something is about: ``sweep``, ``trial``, ``segment``, ``attempt``, ``experiment``, ``stage``."""

_HERE = ContextVar[Names]("metta.sweep scope")
_NOTHING: Names = {}

_TRIAL = re.compile(r"(?P<sweep>.+)/trial-(?P<trial>\d+)/seg-(?P<segment>\d+)/try-(?P<attempt>\d+)")


def scoped() -> Names:
    """What the code that runs here is about; what a line of the log or a span should carry."""
    return _HERE.get(_NOTHING)


@contextmanager
def scope(names: Names) -> Iterator[None]:
    """Within it code is about this, besides what it is about anyway."""
    token = _HERE.set({**scoped(), **names})
    try:
        yield
    finally:
        _HERE.reset(token)


def names_of_attempt(sweep: str, key: AttemptKey) -> Names:
    """The names of an attempt."""
    return {"sweep": sweep, **key._asdict()}


def names_of_order(order: object) -> Names:
    """What a task of an experiment is about; anything else is about nothing."""
    return {"experiment": order.name, "stage": str(order.at)} if isinstance(order, Order) else _NOTHING


def names_of_workflow(kind: str, id: str) -> Names:
    """What a workflow is about, by its type and its id.

    >>> names_of_workflow("Trial", "digits/trial-7/seg-0/try-2")
    {'sweep': 'digits', 'trial': 7, 'segment': 0, 'attempt': 2}
    >>> names_of_workflow("Sweep", "digits")
    {'sweep': 'digits'}
    """
    if kind == "Trial" and (found := _TRIAL.fullmatch(id)):
        numbers = {name: int(number) for name, number in found.groupdict().items() if name != "sweep"}
        return {"sweep": found["sweep"], **numbers}
    return {kind.lower(): id} if kind in ("Sweep", "Experiment") else _NOTHING
