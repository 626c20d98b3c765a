"""Records: ledgers and outcome logs, read from end to end."""

from collections.abc import Iterator
from shlex import quote
from time import monotonic
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import unquote

from metta.sweep.client.health.findings import Finding, healthy, not_checked
from metta.sweep.client.health.store import refused
from metta.sweep.client.stages import stages_of
from metta.sweep.contracts.errors import LedgerCorrupt, StoreError
from metta.sweep.stores.base import Store
from metta.sweep.stores.files import LEDGER, OUTCOMES, FileStore
from metta.sweep.stores.trials import TrialTable

Kind: TypeAlias = Literal["sweep", "experiment"]


class Record(NamedTuple):
    """What is recorded of a sweep or experiment.

    Args:
        name: Its name.
        kind: What it is.
        has_ended: Whether its end is recorded; None when that cannot be read, or nothing is recorded at all.
        at: When something was recorded last, in seconds since 1970.
    """

    name: str
    kind: Kind
    has_ended: bool | None
    at: float = 0.0


class Reader:
    """Reads everything that is recorded in a store, as far as there is time.

    Args:
        store: The store.
        seconds: How long it may take.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._deadline = monotonic() + seconds
        self.records: list[Record] = []
        self.findings: list[Finding] = []

    def read(self) -> None:
        """Read on to the end."""
        unread = 0
        for name, kind in self._names():
            if monotonic() > self._deadline:
                unread += 1
                self.records.append(Record(name, kind, None))
            else:
                self.records.append(self._record(name, kind))
        if unread:
            text = f"{unread} records were not read in time, so that nobody can tell whether they are whole"
            self.findings.append(not_checked("store", text, "warning"))
        elif self.records and not self.findings:
            self.findings.append(healthy("store", f"all records are whole: {len(self.records)}"))

    def _names(self) -> Iterator[tuple[str, Kind]]:
        try:
            sweeps, experiments = _recorded(self._store)
        except StoreError as error:
            self.findings.append(refused(self._store.address, error))
            return
        for name in sweeps:
            yield name, "sweep"
        for name in experiments:
            yield name, "experiment"

    def _record(self, name: str, kind: Kind) -> Record:
        try:
            if kind == "sweep":
                table = TrialTable(self._store.ledger(name).read())
                has_ended = None if table.spec is None else table.finish is not None
                return Record(name, kind, has_ended, table.at or 0.0)
            stages = stages_of(self._store.outcome_log(name))
            has_ended = None if stages.began is None else stages.finished is not None
            return Record(name, kind, has_ended, stages.at)
        except LedgerCorrupt as error:
            self.findings.append(_damaged(name, error))
        except StoreError as error:
            self.findings.append(refused(name, error))
        return Record(name, kind, None)


def _recorded(store: Store) -> tuple[list[str], list[str]]:
    """Names of sweeps and of experiments; one that cannot be read hides no other one."""
    if not isinstance(store, FileStore):
        return store.names(), store.experiment_names()
    ledgers, logs = store.root.glob(f"sweeps/*/{LEDGER}"), store.root.glob(f"experiments/*/{OUTCOMES}")
    sweeps = sorted(unquote(file.parent.name) for file in ledgers)
    return sweeps, sorted(unquote(file.parent.name) for file in logs)


def _damaged(name: str, error: LedgerCorrupt) -> Finding:
    repaired = error.path.with_name("repaired.jsonl")
    return Finding(
        check="store",
        code="record-damaged",
        severity="problem",
        subject=name,
        text=f"the record of {name} is damaged: {error.path}, line {error.line}: {error.why}",
        cure=(
            "restore the file from a backup; or keep what stands before the damage, put that in its place,"
            f" and `sweep retry {quote(name)}`"
        ),
        command=f"head -c {error.offset} {quote(str(error.path))} > {quote(str(repaired))}",
    )
