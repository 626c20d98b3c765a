"""Advances: what the workflow of a sweep, its search and the workflows of its trials tell one another.

Here trials are jobs, which go on whatever happens to workers. The search is called with what happened since
it was called last, and answers with what is to be done.
"""

from typing import TypeAlias

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.components import Component
from metta.sweep.contracts.decisions import Finish
from metta.sweep.contracts.events import AttemptEnded
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.objective_specs import ObjectiveSpec
from metta.sweep.contracts.sweeps import Progress, SweepSpec
from metta.sweep.contracts.values import Value

SUMMARY_BYTES = 200

LEDGER = "ledger"
"""The field of a trial's memo that says which ledger wants it."""


class TrialOrder(Wire):
    """Input of the workflow ``Trial``: one attempt of one segment.

    Args:
        sweep_id: The sweep, whose workflow is told what becomes of it.
        objective: What is run.
        executor: Where it runs.
        attempt: The attempt.
        timeout_s: Longest run in seconds.
        epoch: The epoch of the sweep that has begun it.
        queue: Task queue of the workers that run it; None means that of its workflow.
        is_unwanted: Whether it is only to be stopped where it runs.
        has_begun: Whether it may run already, and is only to be attended again.
        ledger_id: Which ledger wants it: a sweep that was deleted may have left trials of the same name.
        metric: The metric that counts, where the sweep says it.
    """

    sweep_id: str
    objective: ObjectiveSpec
    executor: Component
    attempt: Attempt
    timeout_s: float | None = None
    epoch: int = 0
    queue: str | None = None
    is_unwanted: bool = False
    has_begun: bool = False
    ledger_id: str = ""
    metric: str | None = None

    @property
    def summary(self) -> str:
        """One line on it for people."""
        params = ", ".join(f"{name}={value}" for name, value in self.attempt.params.items())
        return params.encode()[:SUMMARY_BYTES].decode(errors="ignore")


class TrialNews(Wire):
    """What became of an attempt; what it reported lies in its folder.

    Args:
        reports: So many bytes of its reports are known to be whole.
        end: How it ended; None while it goes on.
        ledger_id: Which ledger wanted it; empty when nobody said.
    """

    trial: int
    segment: int
    attempt: int
    reports: int = 0
    end: AttemptEnded | None = None
    ledger_id: str = ""

    @property
    def key(self) -> AttemptKey:
        """Which attempt."""
        return AttemptKey(self.trial, self.segment, self.attempt)


class SweepWatch(Wire):
    """Input and result of ``watch_sweep``: the sweep that is watched."""

    sweep_id: str


class ExperimentEnd(Wire):
    """Input and result of ``end_experiment``: the workflow that is to be over."""

    name: str


class Measuring(Wire):
    """Input of ``measure_trial``: what a trial that is an experiment has given.

    Args:
        attempt: Which attempt.
        value: What its last stage gave.
        metric: The metric that counts, where the sweep says it.
        seconds: How long the attempt ran.
    """

    attempt: AttemptKey
    value: Value
    metric: str | None = None
    seconds: float = 0.0


class Due(Wire):
    """An attempt that is to begin.

    Args:
        delay_s: After so many seconds.
        at: When, in seconds since 1970, once somebody has begun to wait for it.
        has_begun: Whether it may run already, and is only to be attended again.
        is_unwanted: Whether it is only to be stopped where it runs.
    """

    attempt: Attempt
    delay_s: float = 0.0
    at: float = 0.0
    has_begun: bool = False
    is_unwanted: bool = False


Keys: TypeAlias = tuple[AttemptKey, ...]


class AdvanceOrder(Wire):
    """Input of ``advance_search``.

    Args:
        sweep_id: The sweep.
        spec: Its definition.
        control: What people want now.
        chain: The workflow's first run: whoever continues it as new goes on with the same epoch.
        resume: Whether the sweep may exist already.
        epoch: The epoch that was opened; 0 opens one.
        cursor: Cursor of the last answer.
        news: What happened since.
        free: So many more trials could run.
        tick: Whether time is to be judged.
        again: Attempts whose workflow is gone, and which are to be attended again.
        more: Attempts that the last answer had no room for.
    """

    sweep_id: str
    spec: SweepSpec
    control: Control
    chain: str
    resume: bool = False
    epoch: int = 0
    cursor: int = -1
    news: tuple[TrialNews, ...] = ()
    free: int = 0
    tick: bool = False
    again: Keys = ()
    more: Keys = ()


class Advance(Wire):
    """Result of ``advance_search``.

    Args:
        epoch: The epoch in force.
        cursor: Says that all of this is known.
        control: The control that it took into account.
        slots: So many trials may run at the same time, as scheduler and executor say.
        starts: Attempts that are to begin.
        more: Attempts that are to begin, too; this answer had no room for them.
        stops: Attempts that are to end.
        finish: How the search is over; None while it goes on.
        tick_s: Seconds until time has to be judged; None means never.
        progress: How far it is.
        ledger: Where it is recorded.
        settled: Whether the search has nothing to do for free slots.
        ledger_id: Which ledger it is: another one of the same name has another one.
    """

    epoch: int
    cursor: int
    control: Control
    slots: int
    starts: tuple[Due, ...] = ()
    more: Keys = ()
    stops: Keys = ()
    finish: Finish | None = None
    tick_s: float | None = None
    progress: Progress = Progress()
    ledger: str = ""
    settled: bool = False
    ledger_id: str = ""


class Trials(Wire):
    """Some attempts of a sweep.

    Args:
        ledger_id: Which ledger asks for them.
    """

    sweep_id: str
    keys: Keys = ()
    ledger_id: str = ""


class LaneState(Wire):
    """What a workflow that continues as new hands on of its trials.

    Args:
        epoch: The epoch that was opened; 0 when none was.
        cursor: Cursor of the last answer.
        applied: The control that the search has taken into account.
        slots: So many trials may run at the same time.
        running: Attempts that have begun.
        due: Attempts that have not.
        news: What happened and was not told the search yet.
        more: Attempts that are to begin, and were not handed out yet.
        settled: Whether the search has nothing to do for free slots.
        tick_at: When time has to be judged, in seconds since 1970.
        ledger_id: Which ledger it is.
    """

    epoch: int = 0
    cursor: int = -1
    applied: Control = Control()
    slots: int = 1
    running: Keys = ()
    due: tuple[Due, ...] = ()
    news: tuple[TrialNews, ...] = ()
    more: Keys = ()
    settled: bool = False
    tick_at: float | None = None
    ledger_id: str = ""
