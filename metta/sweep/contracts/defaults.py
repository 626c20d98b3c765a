"""Defaults: what the experiments of a project need not say."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from metta.sweep.contracts.ambient import Ambient
from metta.sweep.contracts.components import Component, ComponentSpec
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.failures import RetryPolicy
from metta.sweep.contracts.jobs import Job, objective_from
from metta.sweep.contracts.metrics import Goal
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.trials import Resources


def _reference(objective: str | Job) -> str | Job:
    """Turns a reference's own error into a ValueError, so that it is told along with the other mistakes."""
    if isinstance(objective, Job):
        return objective
    try:
        return str(Reference.parse(objective))
    except DefinitionError as error:
        raise ValueError("\n".join(error.problems)) from None


def _policy(data: Any) -> Any:
    """A bare number is a number of attempts."""
    return {"max_attempts": data} if isinstance(data, int) and not isinstance(data, bool) else data


class Defaults(Wire):
    """What holds for experiments that say nothing else; None leaves it open.

    The fields are those of ``SweepSpec`` that make sense for more than one sweep.
    """

    objective: Annotated[str | Job, BeforeValidator(objective_from), AfterValidator(_reference)] | None = None
    optimizer: Component | None = None
    scheduler: Component | None = None
    executor: Component | None = None
    metric: str | None = None
    goal: Goal | None = None
    retry: Annotated[RetryPolicy, BeforeValidator(_policy)] | None = None
    timeout: float | None = Field(default=None, gt=0)
    resources: Resources | None = None
    max_failures: int | None = Field(default=None, ge=1)

    @property
    def said(self) -> dict[str, Any]:
        """Those that are not left open."""
        values = ((name, getattr(self, name)) for name in Defaults.model_fields)
        return {name: value for name, value in values if value is not None}

    def within(self, folder: Path) -> Self:
        """The same, with scripts found from a folder."""
        found: dict[str, object] = {}
        for name, value in self.said.items():
            if isinstance(value, ComponentSpec):
                found[name] = value.model_copy(update={"type": _within(folder, value.type)})
        if isinstance(self.objective, Job):
            found["objective"] = self.objective.model_copy(
                update={"cwd": str(folder / (self.objective.cwd or ""))}
            )
        elif self.objective:
            found["objective"] = _within(folder, self.objective)
        return self.model_copy(update=found)


_travelled = Ambient[Mapping[str, Any]]("travelled")


def travelled(defaults: Mapping[str, JsonValue], *, everywhere: bool = False) -> AbstractContextManager[None]:
    """Within it, what the program had configured that started an experiment holds here, too.

    Args:
        defaults: The fields of ``Defaults``, as plain JSON.
        everywhere: Whether also for other threads of this process: it does nothing else.
    """
    return _travelled.holding(Defaults.model_validate(defaults).said, everywhere=everywhere)


def said_elsewhere() -> Mapping[str, Any]:
    """What holds because the program had configured it that started the experiment which runs here."""
    return _travelled.get() or {}


def is_in_script(reference: str) -> bool:
    """Whether something is named by its script: ``path/script.py:name``."""
    return reference.rpartition(":")[0].endswith(".py")


def _within(folder: Path, reference: str) -> str:
    return str(folder / reference) if is_in_script(reference) else reference
