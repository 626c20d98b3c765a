"""Rows: how a stage ended, as people read it."""

from collections.abc import Iterator

from metta.sweep.contracts.experiments import Row
from metta.sweep.contracts.plans import Outcome, StageFailure


def row_of(outcome: Outcome, seconds: float) -> Row:
    """How a stage ended well."""
    return Row(
        stage=outcome.stage,
        status=outcome.status,
        attempts=outcome.attempts,
        seconds=seconds,
        notes=tuple(_notes(outcome)),
    )


def row_of_failure(failure: StageFailure) -> Row:
    """How an attempt of a stage failed."""
    first, *_ = failure.message.splitlines() or [failure.kind]
    return Row(stage=failure.stage, status="failed", attempts=failure.attempts, notes=(first,))


def _notes(outcome: Outcome) -> Iterator[str]:
    for name, times in outcome.failed_hooks.items():
        yield f"its {name} hook failed" + (f" {times} times" if times > 1 else "")
    if profile := outcome.profile:
        peak = f"{profile.peak_bytes / 2**20:.1f} MiB at most"
        yield f"{profile.wall_s:.2f} s wall, {profile.cpu_s:.2f} s CPU, {peak}"
    if outcome.metrics:
        yield ", ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
