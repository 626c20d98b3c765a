"""The job lane: the search of a sweep whose trials are jobs, called whenever something has happened."""

from collections.abc import Iterable, Iterator
from functools import partial
from threading import Lock
from time import monotonic, sleep, time
from uuid import uuid4

from metta.sweep.contracts.advances import Advance, AdvanceOrder, Due, TrialNews
from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.components import create
from metta.sweep.contracts.decisions import Decision, Interrupt, Resume, Retry, Start, Stop
from metta.sweep.contracts.errors import NameInUse
from metta.sweep.contracts.events import (
    AttemptEnded,
    ControlChanged,
    Event,
    Failed,
    Reported,
    Stopped,
    Tick,
    TrialEvent,
)
from metta.sweep.contracts.failures import Failure
from metta.sweep.executors.base import Executor
from metta.sweep.executors.protocol import REPORTS
from metta.sweep.executors.reports import Reports
from metta.sweep.search.attempts import attempt_of, portable, with_kept
from metta.sweep.search.checkpoints import Checkpoints
from metta.sweep.search.consent import check_consent
from metta.sweep.search.observers import Observer
from metta.sweep.search.search import Answer, Search
from metta.sweep.stores.base import Store
from metta.sweep.stores.observations import prior_of

STARTS_BYTES = 400_000
"""So much an answer may hold of attempts that are to begin; each is sent on, and a message has 4 MB."""

LATE_S = 5.0
"""So long is waited for reports that are there, and that a shared file system does not show yet."""

AGAIN_S = 1.0
"""So long after somebody has ended the workflow of a trial by force, another one takes its place."""


class JobSearch:
    """A search on one worker. Another worker may have gone on with it meanwhile.

    Args:
        store: Where the ledger lies.
        order: The first order, which says what the sweep is.
        observer: Who is told of what is recorded.

    Raises:
        DefinitionError: When a component's name or arguments are wrong.
        Refused: When this worker does not consent to what it names.
        StoreError: When the ledger is damaged.
    """

    def __init__(self, store: Store, order: AdvanceOrder, observer: Observer | None = None) -> None:
        spec = order.spec
        check_consent(spec, order.sweep_id)
        self.spec = spec
        self._sweep_id, self._resources = order.sweep_id, spec.resources
        self._workplace = store.workplace(order.sweep_id)
        prior = partial(prior_of, store, order.sweep_id, spec)
        ledger = store.ledger(order.sweep_id)
        writer = uuid4().hex
        self._search = Search(ledger, spec, order.sweep_id, writer, prior=prior, observer=observer)
        parallel = create(Executor, spec.executor).max_parallel
        self._slots = min(parallel, self._search.scheduler.max_parallel or parallel)
        self._checkpoints = Checkpoints(self._workplace)
        self._checkpoints.begin(self._search.table.records)
        self._reports: dict[AttemptKey, Reports] = {}
        self._lock = Lock()

    def advance(self, order: AdvanceOrder) -> Advance:
        """Record what happened, and say what is to be done.

        Raises:
            NameInUse: When a sweep of that name exists already and is not to be resumed.
            DefinitionError: When the recorded definition does not allow it to run.
            LedgerFenced: When somebody else owns the sweep.
            StoreError: When it cannot be recorded; the same order can be given again.
        """
        with self._lock:  # one that is tried again may meet the first one
            try:
                return self._advance(order)
            except BaseException:
                self._reports.clear()  # what they have read may not be recorded
                raise

    def close(self) -> None:
        """Give back what is held open; waits for an order that is carried out."""
        with self._lock:
            self._search.ledger.close()
            self._checkpoints.close()

    def _advance(self, order: AdvanceOrder) -> Advance:
        if not order.epoch:
            answer = self._opened(order)
            return self._told(order, answer, [self._begun(number) for number in self._search.table.running])
        self._search.join(order.epoch)
        events = list(self._events(order))
        answer = self._search.advance(order.cursor, events, order.free)
        self._tidy_up(events)
        again = [self._begun(key.trial, AGAIN_S) for key in order.again if self._runs(key)]
        more = [self._begun(key.trial) for key in order.more if self._runs(key)]
        return self._told(order, answer, [*again, *more])

    def _opened(self, order: AdvanceOrder) -> Answer:
        table = self._search.table
        if table.spec and not order.resume and table.chain != order.chain:
            raise NameInUse(self._sweep_id)
        answer = self._search.open(order.control, order.chain)
        # what was decided is done for all that runs by now
        return answer._replace(decisions=[])

    # --- what happened ---

    def _events(self, order: AdvanceOrder) -> Iterator[Event]:
        yield ControlChanged(at=time(), control=order.control)  # dropped when it is known
        for news in order.news:
            if self._runs(news.key):
                yield from self._events_of(news)
        if order.tick:
            yield Tick(at=time())

    def _events_of(self, news: TrialNews) -> Iterator[Event]:
        part = partial(self._workplace.part, f"{news.key}/{REPORTS}")
        reports = self._reports.setdefault(news.key, Reports(self._attempt(news.trial), part))
        told: list[TrialEvent] = [*self._reported(reports, news.reports)]
        if news.end:
            self._reports.pop(news.key)
            told.append(self._end(news.end))
        yield from with_kept([portable(event, self._workplace) for event in told], self._workplace)

    def _reported(self, reports: Reports, size: int) -> Iterator[Reported]:
        """What was promised; a file system that is shared may show it late."""
        deadline = monotonic() + LATE_S
        while True:
            yield from reports.read(time(), size)
            if reports.size >= size or monotonic() > deadline:
                return
            sleep(LATE_S / 50)

    def _end(self, end: AttemptEnded) -> AttemptEnded:
        """An end as it is recorded: what has stopped and was not to, is tried again."""
        record = self._search.table.records[end.trial]
        if isinstance(end, Stopped) and not (record.stopping or record.interrupted):
            failure = Failure(kind="infra", message="it has stopped, and the search did not want that")
            key = AttemptKey(end.trial, end.segment, end.attempt)._asdict()
            return Failed(at=time(), seconds=end.seconds, failure=failure, **key)
        return end.model_copy(update={"at": time()})

    def _runs(self, key: AttemptKey) -> bool:
        record = self._search.table.running.get(key.trial)
        return record is not None and record.key == key

    def _tidy_up(self, events: Iterable[Event]) -> None:
        """Let go of checkpoints that have become needless by what is recorded now."""
        records = self._search.table.records
        for event in events:
            if isinstance(event, Reported | AttemptEnded):
                self._checkpoints.refer(records[event.trial])
            if isinstance(event, Reported) and event.checkpoint:
                self._checkpoints.outdate(event.checkpoint)
            if isinstance(event, Failed):
                self._checkpoints.failed(AttemptKey(event.trial, event.segment, event.attempt))
        if self._search.table.finish:
            self._checkpoints.end(records)

    # --- what was decided ---

    def _told(self, order: AdvanceOrder, answer: Answer, again: Iterable[Due]) -> Advance:
        table = self._search.table
        ends = [d.trial for d in answer.decisions if isinstance(d, Stop | Interrupt)]
        starts, more = _fitting([*again, *self._decided(answer.decisions)])
        return Advance(
            epoch=table.epoch,
            cursor=answer.cursor,
            control=table.control,
            slots=self._slots,
            starts=tuple(starts),
            more=tuple(due.attempt.key for due in more),
            stops=tuple(table.records[trial].key for trial in ends),
            finish=table.finish,
            tick_s=self._search.next_tick_s,
            progress=table.progress(),
            ledger=self._search.ledger.uri,
            # decisions that are carried out already have taken slots, too: it is to be asked once more
            settled=bool(order.epoch) and not answer.decisions,
            ledger_id=self._search.ledger_id,
        )

    def _decided(self, decisions: Iterable[Decision]) -> Iterator[Due]:
        """What is to begin and has not ended since; a caller that lost an answer gets old decisions, too."""
        delays: dict[int, float] = {}
        for decision in decisions:
            match decision:
                case Start() | Resume():
                    self._checkpoints.refer(self._search.table.records[decision.trial])
                    delays[decision.trial] = 0.0
                case Retry():
                    delays[decision.trial] = decision.delay_s
        running = self._search.table.running
        for trial, delay_s in delays.items():
            if trial in running:
                yield Due(attempt=self._attempt(trial), delay_s=delay_s)

    def _begun(self, trial: int, delay_s: float = 0.0) -> Due:
        """An attempt that may run already; one that was told to end is only to be stopped."""
        record = self._search.table.records[trial]
        is_unwanted = record.stopping or record.interrupted
        attempt = self._attempt(trial)
        return Due(attempt=attempt, delay_s=delay_s, has_begun=True, is_unwanted=is_unwanted)

    def _attempt(self, trial: int) -> Attempt:
        return attempt_of(self._search.table.records[trial], self._workplace.address, self._resources)


def _fitting(due: list[Due]) -> tuple[list[Due], list[Due]]:
    """Those that one answer has room for, at least one, and the others."""
    room = STARTS_BYTES
    for count, one in enumerate(due):
        room -= len(one.model_dump_json())
        if room < 0 and count:
            return due[:count], due[count:]
    return due, []
