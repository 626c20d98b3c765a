"""The search: optimizer, scheduler and budget folded over a ledger. All decisions are made here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from random import Random
from time import monotonic, time
from typing import NamedTuple, TypeVar

from pydantic import JsonValue

from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.components import create
from metta.sweep.contracts.decisions import Decision, Resume, Retry, Start, Stop
from metta.sweep.contracts.errors import ChunkTaken, DefinitionChanged, LedgerFenced, StoreError
from metta.sweep.contracts.events import AttemptEnded, Created, Event, Known, Opened, Stopped
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.seeds import derived_seed
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import New, Scheduler, SlotFree, Verdict
from metta.sweep.search.endings import interrupting, interruption, natural_end, stopping
from metta.sweep.search.observers import Observer
from metta.sweep.search.retries import retries
from metta.sweep.search.telling import checked, result_of, trial_of
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.snapshots import Snapshots
from metta.sweep.stores.trials import TrialTable

DecisionT = TypeVar("DecisionT", bound=Decision)

_NO_LIMITS = Budget()


class Answer(NamedTuple):
    """Decisions to carry out, and the cursor that says that they are known."""

    decisions: list[Decision]
    cursor: int


class Search:
    """One search over one ledger.

    ``open`` takes the sweep over, then ``advance`` is called with what happened, again and again::

        search = Search(ledger, spec, "digits", writer)
        answer = search.open(control)                             # Retry(...) for what ran before
        answer = search.advance(answer.cursor, [], free=2)        # [Start(0), Start(1)]
        answer = search.advance(answer.cursor, [Completed(...)], free=1)   # [Start(2)]

    What is decided is in the ledger before it is returned. After any failed write the search forgets
    what it knew and folds the ledger again, so it never knows more than what is recorded.

    Args:
        ledger: The sweep's ledger.
        spec: Its definition.
        sweep_id: Its id; also the seed when the definition has none.
        writer: Name of this writer, unlike all others.
        clock: Tells the time in seconds since 1970.
        prior: Trials of earlier sweeps to begin with; called when nothing is recorded yet.
        observer: Who is told of what is recorded.
    """

    table: TrialTable
    optimizer: Optimizer
    scheduler: Scheduler

    def __init__(
        self,
        ledger: Ledger,
        spec: SweepSpec,
        sweep_id: str,
        writer: str,
        clock: Callable[[], float] = time,
        prior: Callable[[], Sequence[Known]] = tuple,
        observer: Observer | None = None,
    ) -> None:
        self.ledger, self._spec, self._sweep_id = ledger, spec, sweep_id
        self._seed = sweep_id if spec.seed is None else spec.seed
        self._writer, self._clock = writer, clock
        self._prior, self._observer = prior, observer
        self._epoch = 0
        self._snapshots = Snapshots(ledger)
        self.table, self._is_stale = TrialTable(), False
        self._rebuild()

    def open(self, control: Control, chain: str = "") -> Answer:
        """Take the sweep over: attempts of the session before are over, and begin again.

        Args:
            control: The control in force.
            chain: The workflow that opens it for jobs: those that run go on, and it opens the sweep once,
                however often this is called. Empty for a session.

        Raises:
            DefinitionChanged: When the ledger is that of another definition.
            DefinitionError: When the sweep is to begin with trials that it cannot use.
            StoreError: When it cannot be recorded.
        """
        while True:
            if self._is_stale:
                self._rebuild()
            self._check_definition()
            if chain and self.table.chain == chain:
                self._epoch = self.table.epoch
                return Answer([], self.head)
            known: Sequence[Known] = ()
            if self.head < 0:
                known = self._prior()
                self._setup(control.budget)
            recorded = self.table.control
            if recorded.run == control.run and recorded.version > control.version:
                control = recorded  # an attempt that is tried again brings what was wanted at first
            self._epoch = self.table.epoch + 1
            at = self._clock()
            created = Created(at=at, spec=self._spec)
            known = [event.model_copy(update={"at": at}) for event in known]
            adopts = bool(chain and self.table.chain)  # what a session ran is over
            opened = Opened(at=at, epoch=self._epoch, control=control, chain=chain, adopts=adopts)
            try:
                # what was decided before is carried out, or is over and decided anew by this chunk
                stopped = [] if adopts else self._stopped(at)
                return self._advance(self.head, [created, *known, opened, *stopped], free=0)
            except ChunkTaken:  # somebody else opened it at the same time: the later one owns it
                self._rebuild()

    def advance(self, cursor: int, events: Sequence[Event], free: int = 0) -> Answer:
        """Record what happened, and decide what is to be done.

        Args:
            cursor: Cursor of the last answer; all decisions after it are returned.
            events: What happened, in order. Events that are recorded already are dropped.
            free: So many more trials could run.

        Raises:
            LedgerFenced: When a newer session owns the sweep.
            StoreError: When it cannot be recorded; the same call can be made again.
        """
        while True:
            if self._is_stale:
                self._rebuild()
            if self.table.epoch != self._epoch:
                raise LedgerFenced(f"session {self._epoch} was replaced by session {self.table.epoch}")
            try:
                return self._advance(cursor, events, free)
            except ChunkTaken:
                self._rebuild()

    def join(self, epoch: int) -> None:
        """Go on for an owner that opened the sweep elsewhere, with all that is recorded by now.

        Raises:
            StoreError: When the ledger is damaged.
        """
        self._epoch = epoch
        for chunk in self.ledger.read(self.head):
            self._repeat(chunk)

    @property
    def next_tick_s(self) -> float | None:
        """Seconds from the last event until the time budget is used up; None when that cannot happen."""
        limit_s = self.table.control.budget.time_s
        waits = self.table.finish or self.table.control.pause
        if limit_s is None or waits or self.table.elapsed_s >= limit_s:
            return None  # what is used up is judged already
        return limit_s - self.table.elapsed_s

    @property
    def is_blind(self) -> bool:
        """Whether results change nothing in what is tried next, so that it can be decided ahead."""
        control = self.table.control
        judged = control.budget.target, control.budget.epochs, control.budget.cost, control.concurrency
        return (
            self.optimizer.result_blind
            and self.scheduler.result_blind
            and self.table.succeeded  # or the sweep may be about to give up
            and judged == (None, None, None, None)
        )

    # --- the fold ---

    def _rebuild(self) -> None:
        """Fold the whole ledger: what is recorded is repeated, never decided again."""
        before, self._is_stale = self.table, True
        self.table = TrialTable()
        self.head, self.ledger_id = -1, ""  # the id is the first writer's: no other ledger has it
        self.optimizer = create(Optimizer, self._spec.optimizer)
        self.scheduler = create(Scheduler, self._spec.scheduler)
        try:
            for chunk in self.ledger.read():
                self._repeat(chunk)
        except StoreError:
            self.table = before  # for those who look at it until the ledger can be read
            raise
        self._is_stale = False

    def _setup(self, begun_with: Budget) -> None:
        """Say what is searched, when the first session opens."""
        self.optimizer.setup(self._spec.search_space, (), self._seed, begun_with.trials)
        self.scheduler.setup(self._spec.search_space, self._seed)

    def _repeat(self, chunk: Chunk) -> None:
        if chunk.n == 0:
            self.ledger_id = chunk.writer
            self._setup(next(e.control.budget for e in chunk.events if isinstance(e, Opened)))
        retried = {d.trial for d in chunk.decisions if isinstance(d, Retry)}
        for event in chunk.events:
            self.table.apply(event)
            if not (isinstance(event, AttemptEnded) and event.trial in retried):
                self._tell(event)  # for what they keep; the verdicts are recorded
        starts = [d for d in chunk.decisions if isinstance(d, Start)]
        self._carry([d for d in chunk.decisions if not isinstance(d, Start)])
        # in the order of ``_starts``; where nothing was asked, all of them are the optimizer's to remember
        points = len(self._spec.initial_points[self.table.roots :])
        self._remember(self._carry(starts[:points]))
        asked = 0 if self.optimizer.stateless else sum(len(self._ask(n)) for n in chunk.asks)
        self._carry(starts[points : points + asked])
        self._remember(self._carry(starts[points + asked :]))
        self.head = chunk.n

    def _advance(self, cursor: int, events: Iterable[Event], free: int) -> Answer:
        missed = [] if cursor == self.head else [d for c in self.ledger.read(cursor) for d in c.decisions]
        free -= sum(isinstance(decision, Start | Resume | Retry) for decision in missed)
        try:
            chunk = self._decide(events, free)
            # an ask that found nothing has changed an optimizer that is rebuilt by asking again
            if chunk.events or chunk.decisions or (chunk.asks and not self.optimizer.stateless):
                began = monotonic()
                self.ledger.commit(chunk)
                self.head, self.ledger_id = chunk.n, self.ledger_id or chunk.writer
                if self._observer:
                    self._observer.committed(chunk, self.table, monotonic() - began)
                self._snapshots.keep(self.table, chunk.n)
        except StoreError as error:
            if not isinstance(error, ChunkTaken):
                with suppress(StoreError):  # else it is done before anything else is decided
                    self._rebuild()  # the fold holds what was not recorded
            raise
        return Answer([*missed, *chunk.decisions], self.head)

    def _stopped(self, at: float) -> list[Stopped]:
        """Trials that the session before was told to stop have ended with it."""
        return [
            Stopped(at=at, trial=r.number, segment=r.segment, attempt=r.attempt)
            for r in self.table.running.values()
            if r.stopping
        ]

    # --- deciding ---

    def _decide(self, events: Iterable[Event], free: int) -> Chunk:
        news: list[Event] = []
        tried: list[Retry] = []
        wanted: list[Verdict] = []
        for event in events:
            if not self.table.is_news(event):
                continue
            self.table.apply(event)
            news.append(event)
            again = retries(event, self.table, self._spec)
            tried += again
            if not (isinstance(event, AttemptEnded) and again):  # nobody learns from what is tried again
                wanted += self._tell(event)
        self._carry(tried)
        interrupts = self._carry(interrupting(self.table, news))
        asks, rest = self._go_on(wanted, free - sum(retry.delay_s == 0 for retry in tried))
        return Chunk(
            n=self.head + 1,
            writer=self._writer,
            epoch=self._epoch,
            events=tuple(news),
            asks=asks,
            decisions=(*tried, *interrupts, *rest),
        )

    def _tell(self, event: Event) -> list[Verdict]:
        """Tell the optimizer of a trial that is over, and the scheduler of all that happens here."""
        if self.table.objective:
            self.optimizer.objectives = (self.table.objective,)
        if isinstance(event, Known):
            if not event.left_out:
                self._observe(event)
            return []
        if isinstance(event, AttemptEnded):
            # a paused trial too: most of them are never promoted, and when one is, its later result counts
            self._observe(self.table.records[event.trial])
        return self.scheduler.decide(event, self.table)

    def _observe(self, told: TrialRecord | Known) -> None:
        result = result_of(told, self.table.value(told), self.optimizer.all_metrics)
        self.optimizer.observe(trial_of(told, self._spec.resources), result)

    def _go_on(self, wanted: Sequence[Verdict], free: int) -> tuple[tuple[int, ...], list[Decision]]:
        """Asks and decisions that follow from the state after all events."""
        if self.table.finish:
            return (), []
        if end := interruption(self.table):
            if self.table.running:
                return (), [*self._carry(stopping(self.table, self.table.running))]
            return (), [*self._carry([end])]
        stops = self._carry(stopping(self.table, _named(wanted)))
        if self.table.control.pause:
            return (), [*stops]
        resumes = self._resumes(wanted)
        news = self._affordable(wanted)
        spare = free - len(resumes) - len(news)
        if spare > 0 and not self.table.is_spent:
            fill = self.scheduler.decide(SlotFree(spare), self.table)
            stops += self._carry(stopping(self.table, _named(fill)))
            resumes += self._resumes(fill)
            news = self._affordable([*news, *fill])
        asks, starts = self._starts(news)
        over = spare > 0 and not self.table.running
        ends = self._carry([natural_end(self.table, self._remaining())] if over else [])
        return asks, [*stops, *resumes, *starts, *ends]

    def _resumes(self, verdicts: Iterable[Verdict]) -> list[Resume]:
        resumes: list[Resume] = []
        wanted = () if self.table.is_spent else verdicts
        for resume in (v for v in wanted if isinstance(v, Resume)):
            record = self.table.records[resume.trial]
            if record.status == "paused":  # a second verdict on the same trial changes nothing
                resumes += self._carry([resume.model_copy(update={"segment": record.segment + 1})])
        return resumes

    def _affordable(self, verdicts: Iterable[Verdict]) -> list[New]:
        return [v for v in verdicts if isinstance(v, New)][: self._remaining()]

    def _starts(self, news: Sequence[New]) -> tuple[tuple[int, ...], list[Start]]:
        """New trials: initial points, then what the optimizer suggests, all at once, then the scheduler's."""
        to_ask = [new for new in news if new.params is None]
        given = [(new, dict(new.params)) for new in news if new.params is not None]
        points = self._begun(zip(to_ask, self._points(), strict=False))
        self._remember(points)
        to_ask = to_ask[len(points) :]
        # fewer than asked: nothing else is left to try
        asked = self._begun(zip(to_ask, self._ask(len(to_ask)) if to_ask else [], strict=False))
        others = self._begun(given)
        self._remember(others)
        return ((len(to_ask),) if to_ask else ()), [*points, *asked, *others]

    def _points(self) -> Iterator[dict[str, JsonValue]]:
        """Initial points that are left; what they do not name is drawn with the seed of their trial."""
        left = self._spec.initial_points[self.table.roots :]
        for number, point in enumerate(left, len(self.table.records)):
            rng = Random(derived_seed(self._seed, number, "initial"))
            yield self._spec.search_space.sample(rng, point)

    def _begun(self, news: Iterable[tuple[New, dict[str, JsonValue]]]) -> list[Start]:
        first = len(self.table.records)
        return self._carry([self._start(number, *pair) for number, pair in enumerate(news, first)])

    def _start(self, number: int, new: New, params: dict[str, JsonValue]) -> Start:
        seed = derived_seed(self._seed, number, "trial")
        record = TrialRecord(number, params, seed, until_step=new.until_step)
        return Start(
            trial=number,
            params=params,
            seed=seed,
            until_step=new.until_step,
            last=new.last,
            resources=self.scheduler.allocate_resources(record),
            parent=new.parent,
            checkpoint_from=new.checkpoint_from,
        )

    def _remember(self, starts: Iterable[Start]) -> None:
        """Tell the optimizer of trials that it did not suggest itself."""
        for start in starts:
            self.optimizer.remember(trial_of(self.table.records[start.trial], self._spec.resources))

    def _ask(self, n: int) -> list[dict[str, JsonValue]]:
        self.optimizer.next_number = len(self.table.records)
        space, name = self._spec.search_space, type(self.optimizer).__name__
        return [checked(trial, space, name) for trial in self.optimizer.suggest(n)[:n]]

    def _remaining(self) -> int | None:
        """Trials that may still be started, or None without a limit."""
        budget = self.table.control.budget
        if self.table.is_spent:
            return 0
        limit = self.scheduler.default_trials if budget == _NO_LIMITS else budget.trials
        return None if limit is None else max(0, limit - len(self.table.records))

    def _carry(self, decisions: list[DecisionT]) -> list[DecisionT]:
        for decision in decisions:
            self.table.carry(decision)
        return decisions

    def _check_definition(self) -> None:
        recorded = self.table.spec
        if recorded and (changes := recorded.differences(self._spec)):
            raise DefinitionChanged(self._sweep_id, changes)


def _named(verdicts: Iterable[Verdict]) -> Iterable[int]:
    """The trials that are to be stopped."""
    return (verdict.trial for verdict in verdicts if isinstance(verdict, Stop))
