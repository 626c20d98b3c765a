"""State: what the stages of an experiment have made of its fields."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeAlias

from pydantic import JsonValue

Fields: TypeAlias = dict[str, JsonValue]
"""Fields that are not as they were given, by name."""


class Unfit(Exception):
    """What a stage has made of a field is no value of it; says which one, and why."""


class State(Protocol):
    """The fields of an experiment, while its stages run."""

    def changed(self) -> Fields:
        """Fields that are not as they were given.

        Raises:
            Unfit: When one has a value that its type does not allow, or that has no form in JSON.
        """
        ...

    def restore(self, changed: Mapping[str, JsonValue]) -> None:
        """Give these fields these values, and all others those that were given.

        Raises:
            Unfit: When they do not allow them.
        """
        ...

    def opened(self) -> AbstractContextManager[None]:
        """Within it fields can be assigned to."""
        ...


class Conflict(Exception):
    """Branches that ran side by side have made different things of one field."""


def state_of(experiment: Any) -> State | None:
    """The state of an experiment; None for what has none, such as a pipeline."""
    made = getattr(type(experiment), "__state__", None)
    state: State | None = made(experiment) if made else None
    return state


@contextmanager
def held(state: State | None, changed: Mapping[str, JsonValue]) -> Iterator[None]:
    """Within it the fields are as they flow; afterwards they are as they were given.

    Args:
        state: Those of the experiment; None when it has none.
        changed: What flows.

    Raises:
        Unfit: When what was recorded fits them no more.
    """
    if state is None:
        yield
        return
    state.restore(changed)
    try:
        yield
    finally:
        state.restore({})


def opened(state: State | None) -> AbstractContextManager[None]:
    """Within it fields can be assigned to."""
    return state.opened() if state else nullcontext()


def joined(before: Fields, branches: Mapping[str, Fields]) -> Fields:
    """What flows on of fields behind branches that ran side by side.

    >>> joined({"a": 1}, {"x": {"a": 1, "b": 2}, "y": {"a": 3}})
    {'a': 3, 'b': 2}

    Args:
        before: What flowed into each of them.
        branches: What flows out of them, by their names.

    Raises:
        Conflict: When two of them have changed the same field, even to the same value.
    """
    changes = {name: _changes(before, after) for name, after in branches.items()}
    fields = sorted({field for change in changes.values() for field in change})
    by_field = {field: [name for name, change in changes.items() if field in change] for field in fields}
    problems = [
        f"the branches {' and '.join(names)} have both changed the field {field}; let one of them do it, or"
        " return the values and merge them"
        for field, names in by_field.items()
        if len(names) > 1
    ]
    if problems:
        raise Conflict("; ".join(problems))
    after = {field: branches[names[0]].get(field, _GIVEN) for field, names in by_field.items()}
    return {field: value for field, value in {**before, **after}.items() if value is not _GIVEN}


_GIVEN: Any = object()


def _changes(before: Fields, after: Fields) -> Sequence[str]:
    names = {*before, *after}
    return [name for name in names if before.get(name, _GIVEN) != after.get(name, _GIVEN)]
