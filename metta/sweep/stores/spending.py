"""Spending: what sweeps and experiments have spent, as their ledgers and logs tell."""

from collections.abc import Iterable
from functools import reduce

from metta.sweep.contracts.budgets import Spent
from metta.sweep.contracts.names import is_of_a_trial
from metta.sweep.contracts.nested import below
from metta.sweep.contracts.outcomes import Began
from metta.sweep.stores.base import OutcomeLog, Store
from metta.sweep.stores.trials import TrialTable


class Spending:
    """What is spent by those that a store knows now; each ledger is read once.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sweeps, self._experiments = set(store.names()), set(store.experiment_names())
        self._tables: dict[str, TrialTable] = {}

    def by(self, name: str) -> Spent:
        """What a sweep has spent, or an experiment with all that ran within it.

        Args:
            name: Its name.

        Raises:
            StoreError: When the store cannot be read.
        """
        if name in self._sweeps:
            return spent_in(self._table(name))
        tables = [self._table(sweep) for sweep in self._sweeps_within(name)]
        spent = reduce(Spent.plus, map(spent_in, tables), Spent())
        seconds = _run_s(self._store.outcome_log(name), (table.at for table in tables))
        return spent.model_copy(update={"seconds": seconds})

    def _sweeps_within(self, name: str) -> list[str]:
        """Those whose trials are spent from its budget: not what runs within trials of sweeps."""
        names = {*self._sweeps, *self._experiments}
        within = below(name, names)
        others = {each for each in within if is_of_a_trial(each[len(name) :])}
        if any("/~" in each for each in within):  # a shortened name does not tell that of the trial above it
            others |= {inner for trial in others for inner in below(trial, names)}
        return [each for each in within if each in self._sweeps and each not in others]

    def _table(self, sweep: str) -> TrialTable:
        if sweep not in self._tables:
            self._tables[sweep] = TrialTable(self._store.ledger(sweep).read())
        return self._tables[sweep]


def spent_in(table: TrialTable) -> Spent:
    """What a sweep has spent, as its table says."""
    return Spent(trials=len(table.records), epochs=table.epochs, cost=table.cost, seconds=table.elapsed_s)


def _run_s(log: OutcomeLog, others: Iterable[float | None]) -> float:
    """How long an experiment ran, as far as anything is recorded of it or of its sweeps.

    Args:
        log: Its log.
        others: When something was recorded last of each sweep within it.
    """
    total, began, last = 0.0, None, 0.0
    for entry in log.entries():
        if isinstance(entry, Began):  # the time between an end and the next beginning is left out
            total += last - began if began is not None else 0.0
            began = entry.recorded
        last = entry.recorded
    if began is None:
        return 0.0
    return total + max([last, *(at for at in others if at is not None)]) - began
