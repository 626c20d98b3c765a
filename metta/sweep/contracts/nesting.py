"""Nesting: what carries out the runs that the code of a stage asks for."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Never, Protocol

from pydantic import JsonValue

from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.values import Value


@dataclass(frozen=True)
class Wanted:
    """A run that a stage asks for.

    Args:
        name: What the user calls it; None when it has no name.
        kind: What it is, for a name.
        workflow: Type of the workflow that carries it out.
        given: What flows into it.
        definition: Its pipeline, which tells how that is packed; None for a sweep, into which nothing flows.
        input: Makes the input of the workflow of what flows in.
        summary: One line for people.
        here: Runs it in this process.
    """

    name: str | None
    kind: str
    workflow: Literal["Sweep", "Experiment"]
    given: Any
    definition: Any
    input: Callable[[Value | None], dict[str, JsonValue]]
    summary: str
    here: Callable[[], Any]


@dataclass(frozen=True)
class Begun:
    """A run that has begun.

    Args:
        name: Its name.
        end: How it ends.
        result: What it gives when it has ended so.
    """

    name: str
    end: Future[Any]
    result: Callable[[Any], Any]

    def waited(self) -> Any:
        """What it gives; blocks."""
        return self.result(self.end.result())

    async def awaited(self) -> Any:
        """What it gives."""
        return self.result(await asyncio.wrap_future(self.end))


class Nesting(Protocol):
    """Carries out the runs that a stage asks for."""

    def begun(self, wanted: Wanted) -> Begun:
        """Let a run begin.

        Raises:
            SweepError: When it cannot.
        """
        ...


_nesting: ContextVar[Nesting | None] = ContextVar("nesting", default=None)


def nesting() -> Nesting | None:
    """What carries out a run that is asked for here; None outside of stages."""
    return _nesting.get()


@contextmanager
def nested_in(place: Nesting | None) -> Iterator[None]:
    """Within it, runs are carried out there.

    Args:
        place: Where; None runs them as those of a program.
    """
    token = _nesting.set(place)
    try:
        yield
    finally:
        _nesting.reset(token)


class Pending:
    """What an experiment gives that an async stage has started; await it.

    Args:
        begun: The experiment.
    """

    def __init__(self, begun: Begun) -> None:
        self._begun = begun

    def __await__(self) -> Generator[Any, None, Any]:
        return self._begun.awaited().__await__()

    def __getattr__(self, attribute: str) -> Never:
        problem = f"{self._begun.name} is still running; write `await` in front of its run()"
        raise AttributeError(f"{problem} to get what it gives, and then read {attribute}")

    def __repr__(self) -> str:
        return f"Pending({self._begun.name!r})"


def is_in_loop() -> bool:
    """Whether an event loop runs in this thread, which nothing may block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class NowhereNesting:
    """Where no run can be asked for.

    Args:
        where: What code it is.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def begun(self, wanted: Wanted) -> Begun:
        """Always raises.

        Raises:
            SweepError: That says where it can be run.
        """
        raise SweepError(f"{wanted.kind} cannot be run in {self._where}; run it in the code of a stage")
