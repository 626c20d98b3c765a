"""Sessions whose trials follow a script."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from metta.sweep.client.results import table_of
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.contracts.budgets import Budget, Control
from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.errors import StoreFull
from metta.sweep.contracts.sweeps import SessionResult
from metta.sweep.contracts.trials import Resources
from metta.sweep.search.search import Search
from metta.sweep.search.session import Session
from metta.sweep.stores.ledgers import FileLedger
from metta.sweep.stores.trials import TrialTable
from metta.sweep.stores.workplaces import FileWorkplace
from tests.search.scripted import Script, ScriptedPool
from tests.stores.stories import spec

PATIENCE_S = 20.0


class Full(FileLedger):
    """Has no room while it is told so."""

    full = False

    def commit(self, chunk: Chunk) -> None:
        if self.full:
            raise StoreFull("no room is left")
        super().commit(chunk)


class Played:
    """A session whose trials follow a script.

    Args:
        folder: The sweep's folder.
        script: What an attempt does.
        slots: Attempts at the same time.
        **definition: Fields of the sweep's definition.
    """

    def __init__(self, folder: Path, script: Script, slots: int = 1, **definition: Any) -> None:
        self.path = folder / "ledger.jsonl"
        self.ledger = Full(self.path)
        self.pool = ScriptedPool(script, slots)
        search = Search(self.ledger, spec(**{"metric": "acc", **definition}), "sweep", f"{id(self)}")
        self.session = Session(search, self.pool, FileWorkplace(folder), Resources(cpu=3))
        self.thread = ThreadPoolExecutor(1)

    def run(self, run: str = "run", **limits: Any) -> SessionResult:
        result = self.session.run(Control(run=run, budget=Budget(**limits)))
        assert result
        return result

    def begin(self, **limits: Any) -> "Future[SessionResult | None]":
        """Run beside the test."""
        control = Control(run="run", budget=Budget(**limits))
        return self.thread.submit(self.session.run, control)

    def change(self, version: int, limits: dict[str, Any] | None = None, **fields: Any) -> None:
        """What people want now: fields of the control, or limits of its budget."""
        known = {name: fields.pop(name) for name in list(fields) if name in Control.model_fields}
        budget = Budget(**(limits or {}), **fields)
        self.session.set_control(Control(run="run", version=version, budget=budget, **known))

    def close(self) -> None:
        self.session.close()
        self.thread.shutdown()
        assert self.pool.closed or not self.pool.started

    @property
    def table(self) -> TrialTable:
        """What is recorded by now."""
        return table_of(FileLedger(self.path))

    @property
    def chunks(self) -> list[Chunk]:
        return list(FileLedger(self.path).read())

    def wait_for(self, happened: Callable[[], object]) -> None:
        deadline = monotonic() + PATIENCE_S
        while not happened():
            assert monotonic() < deadline, self.table.progress()
            sleep(0.005)


Plays = Callable[..., Played]


def keys(attempts: list[Attempt]) -> list[tuple[int, int, int]]:
    return [attempt.key for attempt in attempts]
