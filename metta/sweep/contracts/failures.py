"""How trials fail, and who pays for the next attempt."""

import errno
from collections.abc import Callable
from math import inf
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from metta.sweep.contracts.models import Edge, Wire

FailureKind: TypeAlias = Literal[
    "user",  # the objective raised, exited or crashed
    "oom",  # the kernel killed it, or it ran out of memory itself
    "timeout",  # it took longer than the trial's timeout
    "infeasible",  # it raised Infeasible: these parameters make no sense
    "bad_metric",  # a metric is NaN, infinite, missing, or not a number
    "no_result",  # it ended without a value and without a report
    "infra",  # the machinery failed: nobody's fault, retried free of charge
    "cancelled",  # somebody cancelled it
    "lost",  # it vanished without a trace
]
"""Why a trial failed."""

FREE_RETRIES = 5
"""So often a trial is retried after failures of kind ``infra`` or ``lost``, counted anew with each report;
then it counts as failed."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system says of a disk that is full: nobody's fault, and soon mended."""

FREE: frozenset[str] = frozenset({"infra", "lost"})
FINAL: frozenset[str] = frozenset({"infeasible", "cancelled"})

UNTELLING: frozenset[str] = FREE | {"cancelled"}
"""Kinds that say nothing of a trial's parameters."""


class Failure(Wire):
    """Why an attempt failed, with the evidence.

    Args:
        kind: Which of the failure kinds.
        message: One sentence for people.
        traceback: The traceback or the end of the log.
    """

    kind: FailureKind
    message: str
    traceback: str = ""


TABULATED = 1000
"""For so many attempts a function is asked how long to wait; then its last answer holds."""


def exponential(attempt: int) -> float:
    """The backoff that doubles its wait, from one second on; also by its name, ``"exponential"``.

    >>> [exponential(n) for n in (1, 2, 3)]
    [1.0, 2.0, 4.0]
    """
    return 2.0 ** min(attempt - 1, 60)


def _backoff(value: Any) -> Any:
    if value in ("exponential", "constant") or callable(value):
        return value
    is_waits = isinstance(value, list | tuple)
    if is_waits and all(isinstance(wait, int | float) and 0 <= wait < inf for wait in value):
        return tuple(map(float, value))
    raise ValueError(
        f"write 'exponential', 'constant', seconds such as [1, 5, 30], or a function, got {value!r}"
    )


class RetryPolicy(Edge):
    """How often a failed trial is tried again, and after which wait.

    Args:
        max_attempts: Attempts in all, the first included. Failures of the machinery are not counted.
        backoff: How the wait grows from one attempt to the next; or the waits, the last of which is
            repeated; or a function of the number of attempts that failed, asked once, when it is given.
        initial: First wait, in seconds.
        maximum: Longest wait, in seconds.
        non_retryable: Failure kinds that are final at once.
    """

    max_attempts: int = Field(default=1, ge=1)
    backoff: Annotated[
        Literal["exponential", "constant"] | tuple[float, ...] | Callable[[int], float],
        PlainValidator(_backoff),
        WithJsonSchema({"type": ["string", "array"]}),
    ] = "exponential"
    initial: float = Field(default=1.0, ge=0)
    maximum: float = Field(default=60.0, ge=0)
    non_retryable: tuple[FailureKind, ...] = ()

    @model_validator(mode="after")
    def _tabulate(self) -> Self:
        """A function becomes the waits it gives, so that a policy is plain data."""
        if callable(self.backoff):
            attempts = range(1, min(self.max_attempts, TABULATED))
            waits = tuple(float(self.backoff(attempt)) for attempt in attempts)
            object.__setattr__(self, "backoff", "exponential" if self.backoff is exponential else waits)
        return self

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait before the next attempt, after attempt number ``attempt`` (from 1) failed.

        >>> [RetryPolicy(max_attempts=5).delay_s(n) for n in (1, 2, 3)]
        [1.0, 2.0, 4.0]
        """
        if self.backoff == "constant":
            return min(self.initial, self.maximum)
        if isinstance(self.backoff, tuple):
            waits = self.backoff[:attempt] or (self.initial,)
            return min(max(waits[-1], 0.0), self.maximum)
        # doubled in a loop bound by the maximum: 2**attempt of a large attempt would overflow a float
        delay = self.initial
        for _ in range(attempt - 1):
            if delay >= self.maximum:
                break
            delay *= 2
        return min(delay, self.maximum)

    def wait_s(self, kind: FailureKind, failed: int, free: int) -> float:
        """Seconds to wait before the next attempt; none the first time that the machinery has failed.

        >>> RetryPolicy().wait_s("infra", failed=0, free=1), RetryPolicy().wait_s("infra", failed=0, free=2)
        (0.0, 2.0)

        Args:
            kind: Kind of the failure just met.
            failed: Attempts that failed by the trial's own fault, this one included.
            free: Attempts that failed by the machinery's fault since the last report, this one included.
        """
        return 0.0 if kind in FREE and free == 1 else self.delay_s(failed + free)

    def again(self, kind: FailureKind, failed: int, free: int) -> bool:
        """Whether a trial gets another attempt.

        Args:
            kind: Kind of the failure just met.
            failed: Attempts that failed by the trial's own fault, this one included.
            free: Attempts that failed by the machinery's fault since the last report, this one included.
        """
        if kind in FREE:
            return free <= FREE_RETRIES
        final = kind in FINAL or kind in self.non_retryable
        return not final and failed < self.max_attempts
