"""The trial that this process runs: what a program started as a job imports.

    from metta.sweep.trial import current_trial

    trial = current_trial()
    for epoch in range(10):
        ...
        trial.report(epoch, loss=loss, checkpoint=path)

It needs the standard library alone. ``docs/reference/jobs.md`` describes the files that lie under it.
"""

import atexit
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import index
from pathlib import Path
from traceback import format_exception_only
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex, TypeAlias, get_args

from metta.sweep.contracts.errors import (
    BadMetric,
    DefinitionError,
    Infeasible,
    TrialInterrupted,
    nearest,
    shown,
)
from metta.sweep.contracts.reports import Reports, finite, finite_number
from metta.sweep.contracts.trees import nested

if TYPE_CHECKING:
    from logging import LogRecord

# Stated here, because the contracts that state them too need pydantic.

TRIAL_VARIABLE = "METTA_SWEEP_TRIAL"
"""The environment variable that names the JSON file with everything a trial is told."""

REPORTS_VARIABLE = "METTA_SWEEP_REPORTS"
"""The environment variable that names the file to which a trial appends what it reports."""

INTERRUPTED = 75
"""Exit code of a trial that was told to end, and can go on later from its checkpoint (``EX_TEMPFAIL``)."""

STOP = "stop"
"""Name of the file in the folder of an attempt by which the attempt is told to end."""

CHECKPOINTS = "checkpoints"
"""Name of the folder for checkpoints in that of an attempt."""

FailureKind: TypeAlias = Literal[
    "user", "oom", "timeout", "infeasible", "bad_metric", "no_result", "infra", "cancelled", "lost"
]
"""Why a trial failed."""

MESSAGE_CHARS = 2000

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
"""By these a job is told to end: by its executor, and by a cluster that wants its nodes back."""


class Interruption(TrialInterrupted, SystemExit):
    """Ends the process with the exit code that says so, unless something catches it."""

    code = INTERRUPTED


@dataclass(frozen=True, slots=True)
class Resources:
    """What the trial may use.

    Args:
        cpu: Cores.
        gpu: Devices.
        memory_gib: Memory in GiB, or None where nothing is said of it.
    """

    cpu: float = 1.0
    gpu: float = 0.0
    memory_gib: float | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """What stands in the trial's file."""
        return cls(**{name: told[name] for name in cls.__slots__ if told.get(name) is not None})


class Trial:
    """What a job is told, and where it reports; ``current_trial()`` makes it.

    Args:
        told: What stands in the trial's file.
        folder: Folder of this attempt.
        reports: The file for reports.

    Attributes:
        params: Active parameters by their full names.
        number: Its number within the sweep, from 0.
        seed: Seed for all randomness of this trial, the same for each attempt.
        attempt: Number of this attempt, from 1.
        resources: What it may use.
        until_step: Step at which it will be paused, or None.
        resume_from: Checkpoint to go on from, or None to begin at the beginning.
    """

    def __init__(self, told: Mapping[str, Any], folder: Path, reports: Path) -> None:
        self.params: dict[str, Any] = told["params"]
        self.number: int = told.get("number") or 0
        self.seed: int = told.get("seed") or 0
        self.attempt: int = told.get("attempt") or 1
        self.resources = Resources.of(told.get("resources") or {})
        self.until_step: int | None = told.get("until_step")
        self.resume_from = Path(told["resume_from"]) if told.get("resume_from") else None
        self._checkpoint_dir = Path(os.path.abspath(told.get("checkpoint_dir") or folder / CHECKPOINTS))
        self._stop = folder / STOP
        self._reports = Reports(reports, self.attempt, told.get("step"))
        self._lock = threading.Lock()  # threads of the training code report, too
        self._is_over = False

    @property
    def checkpoint_dir(self) -> Path:
        """Folder for checkpoints of this attempt; it exists.

        When the attempt fails, or another one takes its place, all is deleted in there that was not reported.
        """
        self._checkpoint_dir.mkdir(parents=True, exist_ok=True)
        return self._checkpoint_dir

    def nested(self) -> dict[str, Any]:
        """The parameters as a tree, split at the dots.

        A parameter that is also a prefix, such as a choice ``model`` beside ``model.depth``, stands
        in its own branch under the empty name.
        """
        return nested(self.params)

    def report(self, step: int, *, checkpoint: Path | str | None = None, **metrics: Any) -> None:
        """Record metrics, and perhaps a checkpoint, at a step.

        Returns when the report is written and durable. A step that is not above the last one is ignored.

        Args:
            step: Counts what was done so far, such as epochs; rises from report to report.
            checkpoint: File or folder from which the trial can go on after this step. Give each one a
                name of its own: the one before is deleted once this one is recorded, not earlier.
            **metrics: Finite numbers by name, at least one.

        Raises:
            BadMetric: When a metric is not a finite number.
            TypeError: When the step is not a whole number.
            FileNotFoundError: When there is no such checkpoint.
            TrialInterrupted: When the trial is to end here. Let it pass.
        """
        numbers, whole = finite(metrics), _whole(step)
        path = Path(os.path.abspath(checkpoint)) if checkpoint else None
        with self._lock:
            if not self._is_over:
                self._reports.report(whole, numbers, path)
                self._is_over = self._is_to_end()
            if self._is_over:  # now, or before: training code may catch the interruption and go on
                _hush_asyncio()
                raise Interruption("the trial is to end here")

    def result(self, value_or_metrics: Any) -> None:
        """State the final result; not needed where the last report is the result.

        Args:
            value_or_metrics: A finite number, or finite numbers by name.

        Raises:
            BadMetric: When it is something else.
        """
        if isinstance(value_or_metrics, Mapping):
            result: object = finite(value_or_metrics)
        else:
            result = finite_number("the result", value_or_metrics)
        with self._lock:
            self._reports.append(result=result)

    def fail(self, kind: FailureKind, message: str) -> None:
        """State why the trial fails; then end the program.

        An exception that nothing catches needs no such call: of ``Infeasible``, ``BadMetric`` and
        ``MemoryError``, and of a full disk, the kind is told, too.

        Args:
            kind: Which of the failure kinds, such as ``infeasible``.
            message: One sentence for people.

        Raises:
            ValueError: When there is no such kind.
        """
        if kind not in (kinds := get_args(FailureKind)):
            raise ValueError(f"{kind!r} is no failure kind{nearest(str(kind), kinds)}")
        text = message if len(message) <= MESSAGE_CHARS else f"{message[:MESSAGE_CHARS]}..."
        with self._lock:
            self._reports.append(failure={"kind": kind, "message": text})

    def _is_to_end(self) -> bool:
        until, step = self.until_step, self._reports.step
        is_paused = until is not None and step is not None and step >= until
        return is_paused or bool(_heard) or self._stop.exists()

    def __repr__(self) -> str:
        return f"Trial(number={self.number}, params={self.params})"


def current_trial() -> Trial:
    """The trial that this process was started for, the same object for each call.

    From then on SIGTERM and SIGUSR2 end the trial at its next report rather than the process at once;
    handlers that the program installed before are called as well.

    Raises:
        RuntimeError: When this process was not started for a trial.
        DefinitionError: When what it was told cannot be understood.
    """
    if not is_job():
        raise RuntimeError(
            f"this process does not run as a trial: {TRIAL_VARIABLE} is not set. Let a sweep start it:"
            f' SweepExperiment(objective=Job(command=["python", "train.py"]), ...). To try it by hand, set'
            f' {TRIAL_VARIABLE} to a file that holds {{"params": {{"lr": 0.1}}}}, and {REPORTS_VARIABLE} to'
            " one for its reports"
        )
    trial = _load(os.environ[TRIAL_VARIABLE], os.environ.get(REPORTS_VARIABLE))
    _listen()
    return trial


def is_job() -> bool:
    """Whether this process was started for a trial, or by one that was."""
    return TRIAL_VARIABLE in os.environ


@lru_cache
def _load(file: str, reports: str | None) -> Trial:
    subject = f"the trial's file {file!r}"
    try:
        told = json.loads(Path(file).read_bytes())
    except OSError as error:
        problem = f"{TRIAL_VARIABLE} names it, but it cannot be read: {error.strerror or error}"
        raise DefinitionError([problem], subject) from None
    except ValueError as error:
        raise DefinitionError(
            [f"it is no JSON ({error}); write an object such as {_EXAMPLE}"], subject
        ) from None
    problems = list(_problems(told, reports))
    if problems or reports is None:
        raise DefinitionError(problems, subject)
    folder = told.get("folder") or Path(file).parent
    trial = Trial(told, Path(os.path.abspath(folder)), Path(os.path.abspath(reports)))
    sys.excepthook = _telling(trial, sys.excepthook)
    return trial


_EXAMPLE = '{"params": {"lr": 0.1}, "number": 0, "seed": 7, "attempt": 1}'

_KEYS = {
    "params": ("an object", dict),
    "number": ("a whole number", int),
    "seed": ("a whole number", int),
    "attempt": ("a whole number", int),
    "resources": ("an object", dict),
    "until_step": ("a whole number", int),
    "step": ("a whole number", int),
    "resume_from": ("a path", str),
    "folder": ("a path", str),
    "checkpoint_dir": ("a path", str),
}
"""What is understood of a trial's file; other keys are passed over."""


def _problems(told: Any, reports: str | None) -> Iterator[str]:
    if reports is None:
        yield f"{REPORTS_VARIABLE} is not set; it names the file to which reports are appended"
    if not isinstance(told, dict):
        yield f"write an object such as {_EXAMPLE}, got {shown(told)}"
        return
    if told.get("params") is None:
        yield f"params is missing; write an object such as {_EXAMPLE}"
    for key, (what, kind) in _KEYS.items():
        value = told.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            yield f"{key} has to be {what}, got {shown(value)}"


# --- what the program does not ask for ---

_heard: list[int] = []
"""Signals that told this process to end."""

_earlier: dict[int, Any] = {}
"""What the program did about them before."""


def _listen() -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # others may not; the file by which it is told is seen without
    for number in SIGNALS:
        if number not in _earlier:
            _earlier[number] = signal.signal(number, _hear)
            # an interpreter on its way out goes back to what the system does, and would die of a late signal
            atexit.register(signal.signal, number, signal.SIG_IGN)


def _hear(number: int, frame: FrameType | None) -> None:
    _heard.append(number)
    if callable(earlier := _earlier.get(number)):
        earlier(number, frame)


def _hush_asyncio() -> None:
    """Let no event loop complain of tasks that an interruption has ended."""
    if "asyncio" in sys.modules:
        import logging  # which asyncio has imported, and few others need

        logging.getLogger("asyncio").addFilter(_is_no_interruption)


def _is_no_interruption(record: "LogRecord") -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], TrialInterrupted))


_Hook: TypeAlias = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def _telling(trial: Trial, earlier: _Hook) -> _Hook:
    """What to do about an exception that nothing catches: tell of it what the exit code does not."""

    def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if any(
            isinstance(one, TrialInterrupted) for one in _alone(error)
        ):  # in a group, which hides its code
            raise SystemExit(INTERRUPTED)
        if failure := _failure_of(error):
            with suppress(OSError):  # the exit code is left
                trial.fail(*failure)
        earlier(kind, error, traceback)

    return tell


def _failure_of(error: BaseException) -> tuple[FailureKind, str] | None:
    """Kind and message of an exception; None when it is one of the program's own."""
    for one in _alone(error):
        message = "".join(format_exception_only(one)).strip()
        if isinstance(one, Infeasible):
            return "infeasible", str(one) or "infeasible"
        if isinstance(one, BadMetric):
            return "bad_metric", str(one)
        if isinstance(one, MemoryError):
            return "oom", message
        if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT):
            return "infra", message
    return None


def _alone(error: BaseException) -> Iterator[BaseException]:
    """An exception itself, or those that a group of exceptions holds."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _alone(member)
    else:
        yield error


def _whole(step: SupportsIndex) -> int:
    try:
        return index(step)
    except TypeError:
        raise TypeError(f"step has to be a whole number, got {step!r}") from None
