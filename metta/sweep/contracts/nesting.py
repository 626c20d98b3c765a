"""Nesting: what carries out the runs that the code of a stage asks for."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Never, Protocol

from pydantic import JsonValue

from metta.sweep.contracts.ambient import Ambient
from metta.sweep.contracts.errors import DefinitionError, SweepError
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
        """What it gives.

        Raises:
            SweepError: When it was cancelled, because another one who awaited it was.
        """
        try:
            return self.result(await asyncio.wrap_future(self.end))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.end.cancelled() and not (task and task.cancelling()):
                problem = "was cancelled when an `await` of it was; call run() again to run it anew"
                raise SweepError(f"{self.name} {problem}") from None
            raise


class Nesting(Protocol):
    """Carries out the runs that a stage asks for."""

    def begun(self, wanted: Wanted) -> Begun:
        """Let a run begin.

        Raises:
            SweepError: When it cannot.
        """
        ...


_nesting = Ambient[Nesting]("nesting")


def nesting() -> Nesting | None:
    """What carries out a run that is asked for here; None outside of stages."""
    return _nesting.get()


def nested_in(place: Nesting, *, everywhere: bool = False) -> AbstractContextManager[None]:
    """Within it, runs are carried out there.

    Args:
        place: Where.
        everywhere: Whether also those that other threads of this process ask for: it does nothing else.
    """
    return _nesting.holding(place, everywhere=everywhere)


def check_outside(kind: str) -> None:
    """Check that nothing is started on its own where it would have to be a part of an experiment.

    Args:
        kind: What is to be started.

    Raises:
        SweepError: In the code of a stage, and in hooks and predicates.
    """
    if nesting():
        problem = "nobody would pause, stop or find it again with its experiment; use run() instead"
        raise SweepError(f"{kind} cannot be started in a stage: {problem}")


def check_no_queue(queue: str | None) -> None:
    """Check that no queue was asked for where a run is a part of an experiment.

    Raises:
        DefinitionError: When one was.
    """
    if queue is not None:
        problem = f"what a stage runs goes to the queue of its experiment; leave it out, got {queue!r}"
        raise DefinitionError([problem], "queue")


class Awaited(Coroutine[Any, Any, Any]):
    """A run that is to be awaited, or handed to ``asyncio.create_task``, as if ``run()`` were a coroutine."""

    _begun: Begun
    _steps: Generator[Any, Any, Any] | None = None
    _driver: "asyncio.Task[Any] | None" = None

    def send(self, value: Any) -> Any:
        """The next step of whoever awaits it."""
        task = asyncio.current_task()
        if self._steps is None:
            self._steps, self._driver = self.__await__(), task
        elif task is not self._driver:
            raise RuntimeError(f"{self._begun.name} is awaited already; hand the task on, and await that")
        try:
            return self._steps.send(value)
        except BaseException:
            self._steps = None
            raise

    def throw(self, *error: Any) -> Any:
        """Tell whoever awaits it of an error; before anybody does, the run ends."""
        if self._steps is None:
            self._begun.end.cancel()
            given: list[Any] = [*error, None]  # the error alone, or, as it used to be, its class first
            raise given[1] or given[0]
        try:
            return self._steps.throw(*error)
        except BaseException:
            self._steps = None
            raise

    def close(self) -> None:
        """Nobody is going to await it."""
        with suppress(GeneratorExit, StopIteration):
            self.throw(GeneratorExit)


class Pending(Awaited):
    """What an experiment gives that an async stage has started; await it.

    Args:
        begun: The experiment.
    """

    def __init__(self, begun: Begun) -> None:
        self._begun = begun

    def __await__(self) -> Generator[Any, Any, Any]:
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


NOWHERE = NowhereNesting("a hook or a predicate")
"""Where predicates and hooks run: they may be asked again, or not at all."""
