"""Trials: one set of parameters, tried once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, Self, SupportsIndex, TypeAlias, cast

from pydantic import Field, JsonValue

from metta.sweep import trial as job
from metta.sweep.contracts.failures import Failure
from metta.sweep.contracts.models import Edge
from metta.sweep.contracts.reports import finite
from metta.sweep.contracts.trees import nested

Result: TypeAlias = float | Mapping[str, float] | Failure
"""What became of a trial: its value, its metrics, or its failure."""

Report: TypeAlias = Callable[[int, dict[str, float], Path | None], None]
"""Where reports go: ``(step, metrics, checkpoint)``. It may raise ``TrialInterrupted``."""


CHECKPOINTS = "checkpoints"
"""Name of the folder for checkpoints in that of an attempt."""


class Resources(Edge):
    """What a trial needs.

    Args:
        cpu: Cores; also the number of threads that BLAS and OpenMP get.
        gpu: Devices.
        memory_gib: Memory in GiB, or None for no statement.
    """

    cpu: float = Field(default=1.0, gt=0)
    gpu: float = Field(default=0.0, ge=0)
    memory_gib: float | None = Field(default=None, gt=0)


class Trial:
    """What an objective gets: parameters, a seed, and where to report.

    A trial made by hand, ``Trial({"lr": 0.1})``, calls the same objective in a test; its
    reports are then kept in ``trial.reports``.

    Args:
        params: Active parameters by their full names.
        number: Its number within the sweep, from 0; below 0 for one of an earlier sweep.
        seed: Seed for all randomness of this trial, the same for each attempt.
        attempt: Number of this attempt, from 1.
        resources: What it may use.
        until_step: Step at which it will be paused, or None.
        ended_at: For optimizers: the step at which it was paused or stopped; None for one that ran to
            its own end.
        resume_from: Checkpoint to go on from, or None to begin at the beginning.
        folder: Folder of this attempt, or None outside of a sweep.
        report_to: Where reports go; None keeps them in ``reports``.
    """

    def __init__(
        self,
        params: Mapping[str, JsonValue],
        number: int = 0,
        seed: int = 0,
        *,
        attempt: int = 1,
        resources: Resources | None = None,
        until_step: int | None = None,
        ended_at: int | None = None,
        resume_from: Path | None = None,
        folder: Path | None = None,
        report_to: Report | None = None,
    ) -> None:
        # JSON by contract, yet Any here: `trial.params["lr"] * 2` is to pass a type checker
        self.params: dict[str, Any] = dict(params)
        self.number = number
        self.seed = seed
        self.attempt = attempt
        self.resources = resources or Resources()
        self.until_step = until_step
        self.ended_at = ended_at
        self.resume_from = resume_from
        self.reports: list[tuple[int, dict[str, float]]] = []
        self._folder = folder
        self._report_to = report_to

    @property
    def checkpoint_dir(self) -> Path:
        """Folder for checkpoints of this attempt; it exists.

        When the attempt fails, or another one takes its place, all is deleted in there that was not reported.

        Raises:
            RuntimeError: Outside of a sweep, when the trial was made without ``folder``.
        """
        if self._folder is None:
            raise RuntimeError("this trial has no folder; make it with Trial(..., folder=tmp_path)")
        folder = self._folder / CHECKPOINTS
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def nested(self) -> dict[str, Any]:
        """The parameters as a tree, split at the dots.

        A parameter that is also a prefix, such as a choice ``model`` beside ``model.depth``, stands
        in its own branch under the empty name.

        >>> Trial({"trainer.lr": 0.1, "trainer.steps": 5, "seed": 1}).nested()
        {'trainer': {'lr': 0.1, 'steps': 5}, 'seed': 1}
        >>> Trial({"model": "cnn", "model.depth": 3}).nested()
        {'model': {'': 'cnn', 'depth': 3}}
        """
        return nested(self.params)

    def report(self, step: int, *, checkpoint: Path | str | None = None, **metrics: Any) -> None:
        """Record metrics, and perhaps a checkpoint, at a step.

        Returns when the record is durable. A step that is not above the last one is ignored.

        Args:
            step: Counts what was done so far, such as epochs; rises from report to report.
            checkpoint: File or folder from which the trial can go on after this step. Give each one a
                name of its own: the one before is deleted once this one is recorded, not earlier.
            **metrics: Finite numbers by name, at least one.

        Raises:
            BadMetric: When a metric is not a finite number.
            TypeError: When the step is not a whole number.
            TrialInterrupted: When the trial is to end here. Let it pass.
        """
        numbers, whole = finite(metrics), _whole(step)
        if self._report_to is not None:
            self._report_to(whole, numbers, Path(checkpoint) if checkpoint else None)
        elif not self.reports or whole > self.reports[-1][0]:
            self.reports.append((whole, numbers))

    def __pack__(self) -> dict[str, Any]:
        """What flows on of it between the stages of a pipeline: all but where its reports go."""
        return {name: value for name, value in vars(self).items() if name != "_report_to"}

    @classmethod
    def __unpack__(cls, packed: dict[str, Any], store: str) -> Self:
        """The trial that was packed."""
        made = cls({})
        vars(made).update(packed)
        return made

    def __repr__(self) -> str:
        return f"Trial(number={self.number}, params={self.params})"


_current: list[Trial] = []


@contextmanager
def running(trial: Trial) -> Iterator[None]:
    """Within it, ``current_trial()`` is this trial."""
    _current.append(trial)
    try:
        yield
    finally:
        _current.pop()


def current_trial() -> Trial:
    """The trial that runs in this process, or that it was started for as a job.

    Raises:
        RuntimeError: When there is none.
        DefinitionError: When what the job was told cannot be understood.
    """
    if _current:
        return _current[-1]
    if job.is_job():
        return cast("Trial", job.current_trial())  # it has the same names, and needs no pydantic
    raise RuntimeError("no trial runs in this process; call it from within an objective")


@dataclass(frozen=True, slots=True)
class Observation:
    """A trial and what became of it.

    Args:
        trial: The trial.
        result: What an optimizer is told of it.
        metrics: All of its numbers by name, when there are more of them.
        seconds: How long it ran; 0 when nobody said.
    """

    trial: Trial
    result: Result
    metrics: Mapping[str, float] | None = None
    seconds: float = 0.0


def _whole(step: SupportsIndex) -> int:
    try:
        return index(step)
    except TypeError:
        raise TypeError(f"step has to be a whole number, got {step!r}") from None
