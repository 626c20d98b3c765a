"""Stages: which one runs in this process, for the code that it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from metta.sweep.contracts.plans import At
from metta.sweep.contracts.seeds import derived_seed


@dataclass(frozen=True, slots=True)
class CurrentStage:
    """The stage that runs; the same at each of its attempts, on whatever machine.

    Args:
        experiment: Name of its experiment; empty in a local run.
        path: Its path in the pipeline.
        turns: The turns of the loops around it, from 0.
        seed: Seed of its randomness: from 0 to 2**32 - 1.
    """

    experiment: str
    path: str
    turns: tuple[int, ...]
    seed: int

    @property
    def key(self) -> str:
        """A name that no other run of a stage has: name by it what must not come twice.

        >>> CurrentStage("digits", "train", (2,), seed=7).key
        'digits/train[2]'
        """
        return f"{self.experiment}/{At(self.path, self.turns)}"


_current: ContextVar[CurrentStage | None] = ContextVar("current_stage", default=None)


@contextmanager
def running_stage(experiment: str, at: At, seed: int | None = None) -> Iterator[None]:
    """Within it, ``current_stage()`` is this one.

    Args:
        experiment: Name of the experiment.
        at: Which run of which stage.
        seed: Seed of the experiment; None derives it from its name.
    """
    stage_seed = derived_seed(experiment if seed is None else seed, 0, str(at))
    stage = CurrentStage(experiment, at.path, at.turns, stage_seed)
    token = _current.set(stage)
    try:
        yield
    finally:
        _current.reset(token)


def current_stage() -> CurrentStage:
    """The stage that runs here.

    Raises:
        RuntimeError: When none does.
    """
    if (stage := _current.get()) is None:
        raise RuntimeError("no stage runs here; call it from within a stage or one of its hooks")
    return stage
