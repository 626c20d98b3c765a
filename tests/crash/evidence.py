"""Evidence: what a sweep has recorded, beside what its trials noted themselves."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple, TypeVar

from pydantic import JsonValue

from metta.sweep.client.results import table_of
from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.decisions import Retry
from metta.sweep.contracts.events import AttemptEnded, Event, Opened, Reported
from metta.sweep.stores.base import Ledger
from metta.sweep.stores.files import LEDGER, FileStore
from metta.sweep.stores.trials import TrialTable
from tests.crash.training import STEPS, audit_of

FoundT = TypeVar("FoundT")

CLOSE_S = 10.0
"""A session has come to its end by then."""

LINE_BYTES = 1000
"""A last line that ends a search is not longer."""


class Told(NamedTuple):
    """What a trial was given, what became of it, and all that it reported on the way."""

    params: dict[str, JsonValue]
    seed: int
    outcome: str
    metrics: dict[str, float]
    reports: list[tuple[int, dict[str, float]]]


Story = list[Told]
Stories = Callable[[int], Story]
"""The story of a sweep by its budget."""


class Evidence:
    """What is left of a sweep, whatever was done to it.

    Args:
        name: The sweep's name.
        store: Folder of the artifact store.
    """

    def __init__(self, name: str, store: Path) -> None:
        files = FileStore(store)
        self.name = name
        self.folder = files.sweep_folder(name)
        self._ledger: Ledger = files.ledger(name)

    def recorded(self) -> bytes:
        """The finished lines of the ledger."""
        file = self.folder / LEDGER
        content = file.read_bytes() if file.exists() else b""
        return content[: content.rfind(b"\n") + 1]

    def reports(self) -> int:
        """How many reports are recorded."""
        return self.recorded().count(b'"type":"reported"')

    def wait_for(self, reports: int) -> None:
        """Return as soon as so many reports are recorded."""
        self.wait_until(lambda: self.reports() >= reports)

    def wait_until(self, happened: Callable[[], FoundT], patience_s: float = 50) -> FoundT:
        """Return as soon as something has happened, and what was found then."""
        deadline = monotonic() + patience_s
        while not (found := happened()):
            assert monotonic() < deadline, f"{self.name} did not come so far: {self.table().progress()}"
            sleep(0.002)
        return found

    def wait_for_end(self) -> None:
        """Return when the search is over; looking at it keeps nothing alive."""
        self.wait_until(self.has_ended)

    def has_ended(self) -> bool:
        """Whether the search is over."""
        return b'"type":"finish"' in self.recorded()[-LINE_BYTES:]

    def chunks(self) -> list[Chunk]:
        return list(self._ledger.read())

    def events(self) -> list[Event]:
        return [event for chunk in self.chunks() for event in chunk.events]

    def epochs(self) -> int:
        """How many sessions have worked on it."""
        return sum(isinstance(event, Opened) for event in self.events())

    def table(self) -> TrialTable:
        return table_of(self._ledger)

    def steps(self) -> list[tuple[AttemptKey, int]]:
        """Which attempt took which step, in order."""
        file = audit_of(self.folder)
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return [(AttemptKey(*key), step) for *key, step in map(json.loads, lines)]

    def story(self) -> Story:
        """Trial by trial all that has to be the same, however often the sweep was interrupted."""
        records = self.table().records
        reports: list[list[tuple[int, dict[str, float]]]] = [[] for _ in records]
        for event in self.events():
            if isinstance(event, Reported):
                reports[event.trial].append((event.step, event.metrics))
        return [Told(r.params, r.seed, r.status, r.metrics, reports[r.number]) for r in records]

    # --- claims ---

    def assert_kept(self, *before: bytes) -> None:
        """Nothing that was recorded is gone or changed."""
        now = self.recorded()
        assert all(now.startswith(recorded) for recorded in before)

    def assert_complete(self, budget: int) -> None:
        """Each trial of the budget came to its end once, by all of its steps."""
        self.assert_sound()
        counts = self.table().counts
        assert (counts.started, counts.completed) == (budget, budget), counts
        assert self._endings() == dict.fromkeys(range(budget), 1)
        reported = [(event.trial, event.step) for event in self.events() if isinstance(event, Reported)]
        assert sorted(reported) == [(trial, 1 + step) for trial in range(budget) for step in range(STEPS)]

    def assert_sound(self) -> None:
        """The ledger is whole, each session wrote in its own time, and nothing was done again."""
        chunks = self.chunks()  # reading them checks their checksums
        assert [chunk.n for chunk in chunks] == [*range(len(chunks))]
        assert [chunk.epoch for chunk in chunks] == sorted(chunk.epoch for chunk in chunks)
        writers = {(chunk.epoch, chunk.writer) for chunk in chunks}
        assert len(writers) == len({epoch for epoch, _ in writers}) == len({w for _, w in writers})
        self.assert_nothing_done_again()
        self.assert_only_needed_checkpoints()

    def assert_only_needed_checkpoints(self) -> None:
        """The last checkpoint of each trial is there, and no other one."""
        needed = {str(record.checkpoint) for record in self.table().records if record.status != "failed"}
        deadline = monotonic() + CLOSE_S  # a session deletes beside its search
        while (there := {*self._checkpoints()}) != needed and monotonic() < deadline:
            sleep(0.02)
        assert there == needed

    def _checkpoints(self) -> list[str]:
        files = self.folder.glob("trials/*/seg-*/try-*/checkpoints/*")
        return [file.relative_to(self.folder).as_posix() for file in files]

    def assert_nothing_done_again(self) -> None:
        """No attempt took a step that one before it had recorded, and none took one twice."""
        recorded_by = {
            (e.trial, e.step): AttemptKey(e.trial, e.segment, e.attempt)
            for e in self.events()
            if isinstance(e, Reported)
        }
        steps = self.steps()
        assert [(key, step) for key, step in steps if key > recorded_by.get((key.trial, step), key)] == []
        assert [step for step, times in Counter(steps).items() if times > 1] == []

    def _endings(self) -> dict[int, int]:
        """How often each trial has ended without being tried again."""
        endings = Counter[int]()
        for chunk in self.chunks():
            endings.update(event.trial for event in chunk.events if isinstance(event, AttemptEnded))
            opened = any(isinstance(event, Opened) for event in chunk.events)
            if not opened:  # else it retries attempts that had no end of their own
                endings.subtract(d.trial for d in chunk.decisions if isinstance(d, Retry))
        return {trial: n for trial, n in sorted(endings.items()) if n}
