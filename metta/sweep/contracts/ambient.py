"""Ambient values: what holds within a block of code, and in the threads that it starts if that is wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Ambient(Generic[T]):
    """A value that code finds without being given it.

    Args:
        name: What it is called.
    """

    def __init__(self, name: str) -> None:
        self._here = ContextVar[T | None](name, default=None)
        self._everywhere: list[T] = []  # for threads that know of no context, such as those of pools

    def get(self) -> T | None:
        """The value that holds here; None where none does."""
        if (value := self._here.get()) is not None:
            return value
        return self._everywhere[-1] if self._everywhere else None

    def hold(self, value: T) -> None:
        """From now on a value holds everywhere in this process."""
        self._everywhere.append(value)

    @contextmanager
    def holding(self, value: T, *, everywhere: bool = False) -> Iterator[None]:
        """Within it a value holds.

        Args:
            value: The value.
            everywhere: Whether also in other threads of this process: it does nothing else.
        """
        token = self._here.set(value)
        if everywhere:
            self._everywhere.append(value)
        try:
            yield
        finally:
            self._here.reset(token)
            if everywhere:
                self._everywhere.pop()
