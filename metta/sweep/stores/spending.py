"""Spending: what sweeps and experiments have spent, as their ledgers and logs tell."""

from functools import reduce

from metta.sweep.contracts.budgets import Spent
from metta.sweep.contracts.names import is_of_a_trial
from metta.sweep.contracts.nested import below
from metta.sweep.contracts.outcomes import Began
from metta.sweep.stores.base import OutcomeLog, Store
from metta.sweep.stores.trials import TrialTable


def spent_by(store: Store, name: str) -> Spent:
    """What a sweep has spent, or an experiment with all that ran within it; nothing when it has not begun.

    Args:
        store: Where it is recorded.
        name: Its name.

    Raises:
        StoreError: When the store cannot be read.
    """
    ledger = store.ledger(name)
    if ledger.exists():
        table = TrialTable(ledger.read())
        counts = {"trials": len(table.records), "epochs": table.epochs, "cost": table.cost}
        return Spent(**counts, seconds=table.elapsed_s)
    sweeps = {*store.names()}
    within = below(name, {*sweeps, *store.experiment_names()})
    # what runs within trials is spent from the budgets of their sweeps
    mine = [n for n in within if n in sweeps and not is_of_a_trial(n[len(name) :])]
    spent = reduce(Spent.plus, (spent_by(store, sweep) for sweep in mine), Spent())
    return spent.model_copy(update={"seconds": _run_s(store.outcome_log(name))})


def _run_s(log: OutcomeLog) -> float:
    """How long an experiment ran, the time between an end and the next beginning left out."""
    total, began, last = 0.0, None, 0.0
    for entry in log.entries():
        if isinstance(entry, Began):
            total += last - began if began is not None else 0.0
            began = entry.recorded
        last = entry.recorded
    return total + (last - began if began is not None else 0.0)
