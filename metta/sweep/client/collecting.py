"""Collecting garbage: what nobody needs any more of all that lies in a project's store."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from math import inf
from time import time

from metta.sweep.client.loop import call
from metta.sweep.client.starts import Starts
from metta.sweep.client.underway import Underway, underway
from metta.sweep.contracts.errors import DefinitionError, StoreError, SweepNotFound
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.outcomes import Began, Finished
from metta.sweep.contracts.wording import duration_text
from metta.sweep.stores.file_garbage import FileGarbage
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.garbage import Kind, Piece, unreferenced
from metta.sweep.stores.lineage import checkpoints_in, needless
from metta.sweep.stores.trials import TrialTable

OLD = timedelta(days=1)
"""What was written later may be what somebody is about to record."""

LEAST = timedelta(hours=1)
"""Between the writing of a value and the start of what it is for lies less, on the slowest machine."""

KINDS: tuple[Kind, ...] = ("checkpoints", "values", "blobs", "drafts")


class Share(Wire):
    """All garbage of a kind.

    Args:
        kind: What it is.
        count: How many there are.
        bytes: What they take.
        paths: Where they lie, below the store.
    """

    kind: Kind
    count: int = 0
    bytes: int = 0
    paths: tuple[str, ...] = ()


class Collected(Wire):
    """What was found, and what became of it.

    Args:
        store: Where it was looked for.
        deleted: Whether it was deleted.
        garbage: What was deleted, or would be, by kind.
        left: What was left though it may be garbage, and why, a sentence each.
        problems: What is damaged or cannot be deleted, a sentence each.
    """

    store: str
    deleted: bool
    garbage: tuple[Share, ...]
    left: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many pieces there are of all kinds."""
        return sum(share.count for share in self.garbage)


def collected(
    starts: Starts, names: Sequence[str] = (), *, delete: bool = False, older_than: timedelta = OLD
) -> Collected:
    """Find what nobody needs any more, and perhaps delete it.

    Args:
        starts: Of the project.
        names: Sweeps and experiments to look at; without any, everything.
        delete: Whether it is deleted.
        older_than: Age of what may be deleted that all of the project share.

    Raises:
        DefinitionError: When the age is below an hour, or the store is not a folder.
        SweepNotFound: When one of the names is unknown.
        StoreError: When the store cannot be read, or not be written to.
    """
    if older_than < LEAST:
        problem = f"it has to be an hour or more, got {older_than}: somebody may be about to record it"
        raise DefinitionError([problem], "the age of garbage")
    store = starts.store
    if not isinstance(store, FileStore):
        problem = (
            f"{store.address} is not a folder: sweeps delete their needless checkpoints themselves, and a"
            " lifecycle rule of the bucket can end what was not finished"
        )
        raise DefinitionError([problem], "sweep gc")
    known = [*store.names(), *store.experiment_names()]
    for name in names:
        if name not in known:
            raise SweepNotFound(name, known, "sweep or experiment")
    return _Collection(store, call(underway(starts)), time() - older_than.total_seconds()).collected(
        names, delete
    )


class _Collection:
    """One look through a store.

    Args:
        store: The store.
        underway: What runs.
        before: What was written later is left, in seconds since 1970.
    """

    def __init__(self, store: FileStore, underway: Underway, before: float) -> None:
        self._store, self._underway, self._before = store, underway, before
        self._files = FileGarbage(store)
        self._since = underway.since
        self._in_doubt: list[str] = []
        self._left: list[str] = []
        self._problems: list[str] = []

    def collected(self, names: Sequence[str], delete: bool) -> Collected:
        """What is found among some, or among all."""
        sweeps, experiments = self._store.names(), self._store.experiment_names()
        found: list[Piece] = []
        for name in dict.fromkeys(names or [*sweeps, *experiments]):
            found += self._checkpoints(name) if name in sweeps else ()
            if name in experiments:
                self._look_at(name)
        if not names:
            found += self._kept()
        found += self._drafts(names)
        if delete:
            found, stuck = self._files.delete(found, self._limit)
            self._problems += [
                f"{self._store.root / piece.key} cannot be deleted; allow it, or do it by hand"
                for piece in stuck
            ]
        return Collected(
            store=str(self._store.root),
            deleted=delete,
            garbage=tuple(_share(kind, found) for kind in KINDS),
            left=tuple(self._left),
            problems=tuple(self._problems),
        )

    @property
    def _limit(self) -> float:
        """What was written later may belong to something that runs, or be about to be recorded."""
        return min(self._before, self._since - LEAST.total_seconds())

    def _checkpoints(self, name: str) -> Iterator[Piece]:
        """Those of a sweep that no trial of it needs."""
        table, recorded, began = TrialTable(), set[str](), inf
        try:
            for chunk in self._store.ledger(name).read():
                table.apply_chunk(chunk)
                recorded.update(checkpoints_in(chunk))
                began = min([began, *(event.at for event in chunk.events)])
        except StoreError as error:
            self._damaged(name, error)
            return
        if self._is_left(name, began, table.at or 0.0, table.finish is not None):
            return
        workplace = self._store.workplace(name)
        names = needless(workplace, table.records, recorded)
        yield from self._files.checkpoints(workplace, name, names)

    def _look_at(self, name: str) -> None:
        """Whether an experiment runs, and its log can be read."""
        began, at, has_ended = inf, 0.0, False
        try:
            for entry in self._store.outcome_log(name).entries():
                began, at = min(began, entry.recorded), entry.recorded
                has_ended = isinstance(entry, Finished) or (has_ended and not isinstance(entry, Began))
        except StoreError as error:
            self._damaged(name, error)
            return
        self._is_left(name, began, at, has_ended)

    def _is_left(self, name: str, began: float, at: float, has_ended: bool) -> bool:
        """Whether a sweep or experiment is not to be touched; notes why."""
        if reason := self._reason(name, at, has_ended):
            self._since = min(self._since, began)
            self._in_doubt.append(name)
            self._left.append(f"{name}: {reason}")
        return bool(reason)

    def _reason(self, name: str, at: float, has_ended: bool) -> str:
        if self._underway.concerns(name):
            return "it runs"
        if has_ended:
            return ""
        if self._underway.doubt:
            return f"it has not ended, and nobody can tell whether it runs: {self._underway.doubt}"
        if at > self._before:
            ago = duration_text(max(0.0, time() - at))
            return f"it has not ended, and something was recorded {ago} ago: a debugger may hold it"
        return ""

    def _damaged(self, name: str, error: StoreError) -> None:
        self._in_doubt.append(name)
        self._problems.append(str(error))

    def _kept(self) -> list[Piece]:
        """Values and blobs that nothing refers to."""
        if reason := self._why_kept():
            self._left.append(f"values and blobs: {reason}")
            return []
        try:
            return unreferenced(self._files, self._limit)
        except StoreError as error:
            self._problems.append(str(error))
            self._left.append("values and blobs: something that may refer to them cannot be read")
            return []

    def _why_kept(self) -> str:
        """Why nobody can tell which values and blobs are needed; empty when that can be told."""
        if self._problems:
            return "what is damaged may refer to them"
        if unrecorded := self._files.unrecorded():
            return f"there is something in {unrecorded[0]}, and no record that says what that refers to"
        if shared := self._files.shared():
            return f"{shared[0]} is a link to a folder that may be other stores', too"
        if self._underway.doubt:
            return f"what runs may refer to them, and cannot be asked for: {self._underway.doubt}"
        return ""

    def _drafts(self, names: Sequence[str]) -> Iterator[Piece]:
        limit = min(self._limit, time() - OLD.total_seconds())
        for piece in self._files.drafts():
            is_meant = piece.owner in names if names else True
            if is_meant and piece.at < limit and piece.owner not in self._in_doubt:
                yield piece


def _share(kind: Kind, pieces: Iterable[Piece]) -> Share:
    """The pieces of a kind."""
    found = [piece for piece in pieces if piece.kind == kind]
    return Share(
        kind=kind,
        count=len(found),
        bytes=sum(piece.size for piece in found),
        paths=tuple(piece.key for piece in found),
    )
