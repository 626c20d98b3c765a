"""Snapshots: what a ledger says up to one of its chunks, so that a look at a large sweep takes no time.

A snapshot is never the source of truth: it is made from the ledger, and lacks what few look at. Whoever
misses it, or something in it, folds the ledger instead.
"""

import logging
from collections import Counter
from contextlib import suppress
from typing import Any, Literal, NoReturn, Self, cast

from pydantic import TypeAdapter

from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.decisions import Finish
from metta.sweep.contracts.errors import StoreError
from metta.sweep.contracts.events import Known
from metta.sweep.contracts.metrics import Objective
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.sweeps import Progress, SweepSpec, TrialStatus
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.rankings import Counted, Failures, LeftOut, Rank, Ranking
from metta.sweep.stores.trials import TrialTable

RANKS = 100
"""So many of the best trials are kept: enough for leaderboards although some of them go on and get worse."""

FAILURES = 20
"""So many of the commonest failures are kept."""

LEAST = 1000
"""Behind fewer chunks or trials than these no snapshot is made while the sweep runs."""

GROWTH = 8
"""A snapshot is made when a ledger has grown by one part in so many."""

BYTES = 500
"""A snapshot with so many bytes for each chunk and trial that came since is large: the next one may wait."""

log = logging.getLogger(__name__)

_records = TypeAdapter(list[TrialRecord])


class Brief(Wire):
    """How a sweep stands, in brief.

    Args:
        format: Of the snapshot.
        at: When something was recorded last, in seconds since 1970; None when nothing was.
        has_begun: Whether its definition is recorded.
        finish: How it ended; None before that.
    """

    format: Literal[1] = 1
    at: float | None
    has_begun: bool
    progress: Progress
    control: Control
    finish: Finish | None

    @classmethod
    def of(cls, table: TrialTable) -> Self:
        """What a table says."""
        return cls(
            at=table.at,
            has_begun=table.spec is not None,
            progress=table.progress(),
            control=table.control,
            finish=table.finish,
        )


class State(Wire):
    """A trial table without the records of its trials.

    Args:
        format: Of the snapshot; a version that folds, or writes down, something else has another one.
        n: The last chunk that is in it.
        started: So many trials were started.
        cutoff: Ranks above this one are left out; None when none are.
        commonest: The commonest failures.
    """

    format: Literal[1] = 1
    n: int
    spec: SweepSpec | None
    control: Control
    epoch: int
    chain: str
    roots: int
    known: tuple[Known, ...]
    restarted: int
    objective: Objective | None
    finish: Finish | None
    elapsed_s: float
    epochs: int
    cost: float
    failed_in_run: int
    succeeded: bool
    at: float | None
    counts: dict[TrialStatus, int]
    failed_attempts: dict[str, int]
    retried: int
    versions: dict[str, int]
    started: int
    cutoff: Rank | None
    commonest: tuple[Counted, ...]


class Snapshots:
    """Makes snapshots of a ledger as it grows.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next = LEAST
        self._trouble = ""

    def keep(self, table: TrialTable, n: int) -> None:
        """Make a snapshot if it is time for one; what prevents it is logged, and nothing is lost.

        Args:
            table: What the ledger says.
            n: Number of its last chunk.
        """
        size = n + len(table.records)
        if size < self._next and not table.finish:
            return
        data = taken(table, n)
        self._next = size + max(LEAST, size // GROWTH, len(data) // BYTES)
        try:
            self._ledger.keep_snapshot(n, data)
        except StoreError as error:
            if str(error) != self._trouble:
                log.warning("no snapshot was made, so looking at the sweep takes longer: %s", error)
            self._trouble = str(error)


def taken(table: TrialTable, n: int) -> bytes:
    """A snapshot: the brief, the state, the trials that run or are among the best, and those that pause.

    Args:
        table: What the ledger says.
        n: Number of its last chunk.
    """
    ranks = table.ranks(RANKS)
    near = {**table.running, **{number: table.records[number] for _, number in ranks}}
    far = [record for record in table.records if record.status == "paused" and record.number not in near]
    state: dict[str, Any] = {field: getattr(table, name) for field, name in _names(table).items()}
    head = State(
        **state,
        n=n,
        started=len(table.records),
        cutoff=ranks[-1] if len(ranks) == RANKS else None,
        commonest=tuple(table.failures.commonest(FAILURES)),
    )
    heads = (part.model_dump_json().encode() for part in (Brief.of(table), head))
    return b"\n".join((*heads, *map(_dumped, ([*near.values()], far))))


def _dumped(records: list[TrialRecord]) -> bytes:
    return _records.dump_json(records, exclude={"__all__": {"history"}})  # which is long, and for schedulers


class Briefing:
    """How a sweep stands, for those who ask again and again: only what came since is read.

    Args:
        ledger: Its ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._brief: Brief | None = None
        self._overview: tuple[TrialTable, int] | None = None
        self._mark = ""

    def brief(self) -> Brief:
        """How it stands by now.

        Raises:
            LedgerCorrupt: When a chunk that has to be read does not match its checksum.
        """
        if self._brief is None or self._ledger.has_more():
            self._brief = None  # if reading fails, all is read anew
            self._brief = (None if self._overview else _kept(self._ledger)) or self._folded()
        return self._brief

    def _folded(self) -> Brief:
        overview = self._went_on() or overview_of(self._ledger)
        self._overview, self._mark = overview, self._ledger.mark()
        return Brief.of(overview[0])

    def _went_on(self) -> tuple[TrialTable, int] | None:
        """What was known and what came since; None when another ledger has taken its place."""
        overview, self._overview = self._overview, None
        if overview is None or self._ledger.mark() != self._mark:
            return None
        with suppress(LeftOut):
            return _read_on(self._ledger, *overview)
        return None


def brief_of(ledger: Ledger) -> Brief:
    """How a sweep stands by its ledger.

    Raises:
        LedgerCorrupt: When a chunk that has to be read does not match its checksum.
    """
    return _kept(ledger) or Brief.of(overview_of(ledger)[0])


def _kept(ledger: Ledger) -> Brief | None:
    """What the snapshot says, where nothing came since."""
    data = ledger.snapshot()
    if data is None or ledger.has_more():
        return None
    with suppress(ValueError):  # of another format
        return Brief.model_validate_json(data.partition(b"\n")[0])
    return None


def overview_of(ledger: Ledger) -> tuple[TrialTable, int]:
    """What a ledger says by now, but for most of its trials, and the number of its last chunk.

    State, progress and leaderboard are complete; the records of trials that have ended need not be. Where
    they are needed, ``LeftOut`` is raised.

    Raises:
        LedgerCorrupt: When a chunk behind the snapshot does not match its checksum.
    """
    for is_deep in (False, True):
        if (data := ledger.snapshot()) is None:
            break
        try:
            return _read_on(ledger, *_restored(data, is_deep))
        except LeftOut:  # a trial that paused goes on, or something rarer
            continue
        except ValueError:  # it is of another format
            break
    return _read_on(ledger, TrialTable(), -1)


def _restored(data: bytes, is_deep: bool) -> tuple[TrialTable, int]:
    """The table of a snapshot, and its last chunk; only if that is ``deep`` with the trials that pause.

    Raises:
        ValueError: When it is of another format.
    """
    _, head, near_line, far_line = data.split(b"\n", 3)
    state = State.model_validate_json(head)
    near = _records.validate_json(near_line)
    table = TrialTable()
    for field, name in _names(table).items():
        value, kind = getattr(state, field), type(getattr(table, name))
        setattr(table, name, kind(value) if kind in (Counter, dict, list) else value)
    table.records = [cast(TrialRecord, _LEFT_OUT)] * state.started
    for record in [*near, *(_records.validate_json(far_line) if is_deep else [])]:
        table.records[record.number] = record
    table.running = {record.number: record for record in near if record.running}
    ranked = (table.rank(record) for record in near if not record.running)
    table.ranking = Ranking(filter(None, ranked), state.cutoff)
    table.failures = Failures(state.commonest)
    return table, state.n


def _read_on(ledger: Ledger, table: TrialTable, n: int) -> tuple[TrialTable, int]:
    """A table with all that stands behind a chunk.

    Raises:
        LeftOut: When the table lacks what that concerns.
    """
    for chunk in ledger.read(n):
        table.apply_chunk(chunk)
        n = chunk.n
    table.leaderboard()  # whose trials may have come to run, or to be worse
    return table, n


def _names(table: TrialTable) -> dict[str, str]:
    """Attributes of a table that a snapshot holds as they are, by field."""
    names = {name.removeprefix("_"): name for name in vars(table)}
    return {field: names[field] for field in State.model_fields if field in names}


class _LeftOut:
    """Stands where the record of a trial is not kept."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(name) if name.startswith("__") else LeftOut  # Python itself may ask

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise LeftOut


_LEFT_OUT = _LeftOut()
