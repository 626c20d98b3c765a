"""The session lane: a search hosted beside the runner processes that carry out its decisions."""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heapify, heappop, heappush
from math import inf
from threading import Event as Flag
from time import monotonic, time
from typing import TypeVar, assert_never

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.decisions import Decision, Finish, Interrupt, Resume, Retry, Start, Stop
from metta.sweep.contracts.errors import StoreAway, StoreFull
from metta.sweep.contracts.events import (
    AttemptEnded,
    ControlChanged,
    Event,
    Failed,
    Reported,
    Stopped,
    Tick,
)
from metta.sweep.contracts.sweeps import Progress, SessionResult
from metta.sweep.contracts.trials import Resources
from metta.sweep.runners.pool import Pool
from metta.sweep.search.attempts import attempt_of
from metta.sweep.search.checkpoints import Checkpoints
from metta.sweep.search.keeping import Keeping
from metta.sweep.search.search import Answer, Search
from metta.sweep.stores.base import Workplace

T = TypeVar("T")

log = logging.getLogger(__name__)

FULL_WAIT_S = 1.0
"""After a write that found no room, so long until the next try."""

PUBLISH_S = 5.0
"""Not more often it is told how far the sweep is, unless it begins or ceases to wait for something."""


class _Closed(Exception):
    """Somebody closed the session while it waited."""


class Session:
    """Hosts one search and one pool until the search is over.

    ``run`` works in one thread; ``set_control``, ``close`` and ``progress`` may be used from others.

    Args:
        search: What decides.
        pool: What carries out; the session closes it.
        workplace: Where attempts work.
        resources: What a trial needs, unless the scheduler says otherwise.
        clock: Tells the time in seconds since 1970; events are given it, nothing waits by it.
    """

    def __init__(
        self,
        search: Search,
        pool: Pool,
        workplace: Workplace,
        resources: Resources,
        clock: Callable[[], float] = time,
    ) -> None:
        self._search = search
        self._pool = pool
        self._workplace = workplace
        self._keeping = Keeping(workplace, pool.wake)
        self._resources = resources
        self._clock = clock
        self._begun: set[int] = set()
        self._queue: deque[Attempt] = deque()
        self._delayed: list[tuple[float, int, Attempt]] = []
        self._stopped: list[Event] = []
        self._controls: deque[Control] = deque()
        self._handover = False
        self._checkpoints = Checkpoints(workplace)
        self._closed = Flag()
        self._settled = False
        self._note = ""
        self._progress = Progress()
        self._published_at = -inf

    def run(self, control: Control) -> SessionResult | None:
        """Search until the end.

        Args:
            control: The control in force.

        Returns:
            How it ended, or None when the session was closed before.

        Raises:
            LedgerFenced: When a newer session owns the sweep.
            DefinitionError: When the objective, or the recorded definition, does not allow it to run.
            StoreError: When the ledger is damaged.
        """
        try:
            return self._run(control)
        except _Closed:
            return None
        finally:
            self._pool.close()
            self._search.ledger.close()
            self._checkpoints.close()
            self._keeping.close()

    def set_control(self, control: Control) -> None:
        """Tell the search what people want now."""
        self._controls.append(control)
        self._pool.wake()

    def close(self) -> None:
        """End at once, and record nothing: another session goes on from what is recorded."""
        self._closed.set()
        self._pool.wake()

    @property
    def progress(self) -> Progress:
        """How far it is; a new object whenever there is something to tell."""
        return self._progress

    def _run(self, control: Control) -> SessionResult:
        answer = self._durably(lambda: self._search.open(control))
        self._checkpoints.begin(self._search.table.records)
        events: list[Event] = []
        while True:
            self._carry_out(answer.decisions)
            self._let_go_on(events)
            self._feed()
            self._tidy_up(events)
            if reason := self._over():
                self._checkpoints.end(self._search.table.records)
                return self._result(reason)
            self._publish()
            events = self._next_events()
            answer = self._advance(answer.cursor, events)

    # --- recording ---

    def _advance(self, cursor: int, events: list[Event]) -> Answer:
        free = 0 if self._handover else self._free()
        answer = self._durably(lambda: self._search.advance(cursor, events, free))
        self._settled = not answer.decisions
        return answer

    def _durably(self, work: Callable[[], T]) -> T:
        """Work with the store, and wait as long as it is full or away: nothing is lost, the runners wait."""
        began, was_full = monotonic(), False
        while not self._closed.is_set():
            try:
                done = work()
            except (StoreFull, StoreAway) as error:
                if not was_full:
                    log.warning("waiting for the store: %s", error)
                self._note, was_full = str(error), True
                self._publish()
                self._closed.wait(FULL_WAIT_S)
            else:
                self._note = ""
                if was_full:  # meanwhile nobody heard of those that run
                    self._pool.forgive(monotonic() - began)
                return done
        raise _Closed

    # --- what happened ---

    def _next_events(self) -> list[Event]:
        """Wait for something to happen, and return all of it."""
        told = self._keeping.kept(self._pool.wait(self._patience_s()))
        self._requeue()
        self._begun -= {event.trial for event in told if not isinstance(event, Reported)}
        events: list[Event] = [*told, *self._stopped]
        self._stopped.clear()
        while self._controls:
            control = self._controls.popleft()
            self._handover = control.handover
            events.append(ControlChanged(at=self._clock(), control=control))
        if self._tick_in_s() == 0:
            events.append(Tick(at=self._clock()))
        return events

    def _patience_s(self) -> float:
        """How long nothing has to be done unless something happens."""
        if self._stopped or self._controls or (self._free() and not self._settled):
            return 0.0
        due_s = [self._publishing_in_s()]
        if self._delayed:
            due_s.append(max(0.0, self._delayed[0][0] - monotonic()))
        if (tick_s := self._tick_in_s()) is not None:
            due_s.append(tick_s)
        return min(due_s)

    def _tick_in_s(self) -> float | None:
        """Seconds until the time budget has to be judged."""
        left_s, at = self._search.next_tick_s, self._search.table.at
        return None if left_s is None or at is None else max(0.0, at + left_s - self._clock())

    # --- what was decided ---

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Start() | Resume():
                    self._queue.append(self._attempt(decision.trial))
                    self._checkpoints.refer(self._search.table.records[decision.trial])
                case Retry(delay_s=delay_s):
                    attempt = self._attempt(decision.trial)
                    heappush(self._delayed, (monotonic() + delay_s, attempt.trial, attempt))
                case Stop():
                    self._stop(decision.trial)
                case Interrupt():
                    self._interrupt(decision.trial)
                case Finish():
                    pass  # the loop looks at the table
                case _:
                    assert_never(decision)

    def _attempt(self, trial: int) -> Attempt:
        return attempt_of(self._search.table.records[trial], str(self._workplace.path), self._resources)

    def _waiting(self, trial: int) -> list[Attempt]:
        """Attempts of a trial that have not begun."""
        self._requeue()
        return [a for a in (*self._queue, *(a for _, _, a in self._delayed)) if a.trial == trial]

    def _interrupt(self, trial: int) -> None:
        """End the running attempt of a trial; one that has not begun waits anyway."""
        if not self._waiting(trial):
            self._pool.stop(self._search.table.records[trial].key)

    def _stop(self, trial: int) -> None:
        """Stop a trial, or take back an attempt that has not begun."""
        waiting = self._waiting(trial)
        if not waiting:
            self._pool.stop(self._search.table.records[trial].key)
            return
        self._queue = deque(a for a in self._queue if a.trial != trial)
        self._delayed = [entry for entry in self._delayed if entry[1] != trial]
        heapify(self._delayed)
        self._stopped += [
            Stopped(at=self._clock(), trial=trial, segment=a.segment, attempt=a.attempt) for a in waiting
        ]

    def _let_go_on(self, events: Iterable[Event]) -> None:
        """Trials wait in ``report`` until their report is recorded and answered."""
        for event in events:
            if isinstance(event, Reported):
                self._pool.answer(AttemptKey(event.trial, event.segment, event.attempt))

    def _tidy_up(self, events: Iterable[Event]) -> None:
        """Let go of checkpoints that have become needless by what is recorded now."""
        for event in events:
            if isinstance(event, Reported | AttemptEnded):
                self._checkpoints.refer(self._search.table.records[event.trial])
            if isinstance(event, Failed):
                self._checkpoints.failed(AttemptKey(event.trial, event.segment, event.attempt))

    def _feed(self) -> None:
        while self._delayed and self._delayed[0][0] <= monotonic():
            self._queue.append(heappop(self._delayed)[2])
        control = self._search.table.control
        is_free = not control.pause and control.concurrency is None
        self._requeue(every=not is_free)  # nothing begins that nobody wants by now
        if control.pause:
            return
        spare = inf if control.concurrency is None else control.concurrency - len(self._begun)
        while self._queue and spare > 0 and (self._pool.free() or (is_free and self._pool.ahead())):
            attempt = self._queue.popleft()
            self._durably(partial(self._keeping.fetch, attempt))
            self._begun.add(attempt.trial)
            self._pool.start(attempt)
            spare -= 1

    def _requeue(self, every: bool = False) -> None:
        """Start again later what the pool was handed and has not begun."""
        taken = self._pool.take_back(every)
        self._begun -= {attempt.trial for attempt in taken}
        self._queue.extendleft(reversed(taken))

    def _free(self) -> int:
        """So many more trials could run."""
        ahead = self._pool.ahead() if self._search.is_blind else 0
        free = self._pool.free() + ahead - len(self._queue) - self._keeping.ends
        if (limit := self._search.table.control.concurrency) is not None:
            free = min(free, limit - len(self._begun) - len(self._queue) - len(self._delayed))
        return max(0, free)

    # --- telling ---

    def _over(self) -> str | None:
        table = self._search.table
        if table.finish:
            return table.finish.reason
        return "handover" if self._handover and not table.running else None

    def _result(self, reason: str) -> SessionResult:
        table = self._search.table
        return SessionResult(
            progress=table.progress(),
            reason=reason,
            message=table.finish.message if table.finish else "",
            control=table.control,
            ledger=self._search.ledger.uri,
        )

    def _publish(self) -> None:
        """Tell how far it is: at most each time that the sweep has become 1 % older."""
        note = self._note or self._keeping.note or self._pool.waiting_for
        if self._publishing_in_s() > 0 and note == self._progress.note:
            return
        self._published_at = monotonic()
        self._progress = self._search.table.progress().model_copy(update={"note": note})

    def _publishing_in_s(self) -> float:
        interval_s = max(PUBLISH_S, self._search.table.elapsed_s / 100)
        return max(0.0, self._published_at + interval_s - monotonic())
