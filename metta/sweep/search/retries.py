"""Retries: which attempts are made again, after which wait, and with which resources."""

from typing import Any

from metta.sweep.contracts.decisions import Retry
from metta.sweep.contracts.events import AttemptEnded, Event, Opened, Stopped
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.stores.trials import TrialTable


def retries(event: Event, table: TrialTable, spec: SweepSpec) -> list[Retry]:
    """The attempts that an event calls for.

    Args:
        event: What happened.
        table: The sweep after that.
        spec: Its definition.
    """
    if isinstance(event, Opened) and event.adopts:
        return []
    if isinstance(event, Opened):
        return [_next_attempt(r) for r in table.running.values() if not r.stopping]
    record = table.records[event.trial] if isinstance(event, AttemptEnded) else None
    if record and isinstance(event, Stopped) and record.status == "paused":  # it was interrupted
        return [_next_attempt(record)]
    if record is None or record.status != "failed" or record.failure is None or record.stopping:
        return []
    kind, policy = record.failure.kind, spec.retry
    if not policy.again(kind, record.failed, record.free):
        return []
    wait_s = policy.wait_s(kind, record.failed, record.free)
    had = record.resources or spec.resources
    if kind != "oom" or policy.on_oom != "grow" or had.memory_gib is None:
        return [_next_attempt(record, delay_s=wait_s)]
    if (memory_gib := policy.grown_gib(had.memory_gib)) is None:
        return []
    grown = had.model_copy(update={"memory_gib": memory_gib})
    return [_next_attempt(record, delay_s=wait_s, resources=grown)]


def _next_attempt(record: TrialRecord, **how: Any) -> Retry:
    return Retry(trial=record.number, segment=record.segment, attempt=record.attempt + 1, **how)
