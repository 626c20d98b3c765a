"""How trials fail, and who pays for the next attempt."""

import errno
import signal
from collections.abc import Callable
from math import inf
from sys import float_info
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

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


class Treatment(NamedTuple):
    """What follows from a failure of one kind.

    Args:
        when: What has happened, for people.
        pays: Whose attempts the failed one is counted among: the trial's, of which its ``RetryPolicy`` allows
            ``max_attempts``, or nobody's.
        retries: So often the trial is tried again; None leaves it to its ``RetryPolicy``.
        tells: Whether it says something of the trial's parameters, so that later sweeps that begin with
            this one are told.
    """

    when: str
    pays: Literal["trial", "nobody"] = "trial"
    retries: int | None = None
    tells: bool = True


TREATMENTS: dict[FailureKind, Treatment] = {
    "user": Treatment("it raised, exited, or died of a signal such as SIGSEGV"),
    "oom": Treatment("memory ran out: `MemoryError`, or the kernel killed it"),
    "timeout": Treatment("an attempt took longer than `timeout=`"),
    "infeasible": Treatment("it raised `Infeasible`: its parameters make no sense", retries=0),
    "bad_metric": Treatment("a metric is NaN, infinite, missing, or no number"),
    "no_result": Treatment("it returned nothing and reported nothing"),
    "infra": Treatment(
        "the machinery failed: the process was killed from outside, or the disk was full",
        pays="nobody",
        retries=FREE_RETRIES,
        tells=False,
    ),
    "cancelled": Treatment("somebody cancelled it", retries=0, tells=False),
    "lost": Treatment(
        "it vanished without a trace, as a job does whose machine dies",
        pays="nobody",
        retries=FREE_RETRIES,
        tells=False,
    ),
}
"""How failures of each kind are treated."""

FREE: frozenset[str] = frozenset(kind for kind, how in TREATMENTS.items() if how.pays == "nobody")

UNTELLING: frozenset[str] = frozenset(kind for kind, how in TREATMENTS.items() if not how.tells)
"""Kinds that say nothing of a trial's parameters."""

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that people and machines send to end a process; training code dies of other ones."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system says of a disk that is full: nobody's fault, and soon mended."""

FREE_SOME = "free some (`sweep gc` shows what nobody needs any more), and what has begun goes on by itself"
"""What to do about that."""


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


MESSAGE_CHARS, EVIDENCE_CHARS = 2000, 4096
"""So much travels of what a failure says, and of its evidence: many may come together in one message."""


def shown_failure(failure: Failure) -> str:
    """A failure as the Temporal UI shows it: what happened, and the end of what was printed."""
    evidence = failure.traceback[-EVIDENCE_CHARS:]
    return f"{failure.message}\n\n{evidence}" if evidence else failure.message


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
        on_oom: What follows when memory ran out: ``"fail"`` is final at once, ``"retry"`` is another attempt,
            ``"grow"`` another one with more memory, as long as it may have more.
        growth: So many times as much memory the next attempt gets then.
        max_memory_gib: Most memory that a trial may grow to, in GiB; None means no limit.
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
    # left out of what is written while they say what always held: fingerprints of plans cover policies
    on_oom: Literal["fail", "retry", "grow"] = Field(default="retry", exclude_if=lambda on: on == "retry")
    growth: float = Field(default=2.0, gt=1, exclude_if=lambda times: times == 2.0)
    max_memory_gib: float | None = Field(default=None, gt=0, exclude_if=lambda limit: limit is None)

    @model_validator(mode="after")
    def _grows(self) -> Self:
        """Growth that could never happen is a mistake."""
        if self.on_oom != "grow":
            return self
        problems = ['on_oom="grow" needs max_attempts of 2 or more'] if self.max_attempts == 1 else []
        if "oom" in self.non_retryable:
            problems.append('on_oom="grow" and "oom" in non_retryable contradict each other')
        if problems:
            raise ValueError("\n".join(problems))
        return self

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
        retries = TREATMENTS[kind].retries
        if kind in FREE:
            return retries is None or free <= retries
        is_final = kind in self.non_retryable or (kind == "oom" and self.on_oom == "fail")
        return not is_final and failed < self.max_attempts and (retries is None or failed <= retries)

    def grown_gib(self, memory_gib: float) -> float | None:
        """Memory for the next attempt, in GiB, after one ran out of memory; None when it may not have more.

        >>> policy = RetryPolicy(max_attempts=9, on_oom="grow", max_memory_gib=6)
        >>> policy.grown_gib(4), policy.grown_gib(6)
        (6.0, None)

        Args:
            memory_gib: What that one had.
        """
        limit = self.max_memory_gib or float_info.max
        return min(memory_gib * self.growth, limit) if memory_gib < limit else None
