"""Observations of earlier sweeps, for optimizers that are used by hand."""

from pathlib import Path
from threading import Lock

from metta.sweep.client.results import Results
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.trials import Observation
from metta.sweep.stores.observations import ledger_of, observation_of, observed, trials_in
from metta.sweep.stores.trials import TrialTable

_loaded = 0
"""So many were handed out by this process: no two have the same number."""

_counting = Lock()


def load_observations(source: str | Path | Results) -> list[Observation]:
    """What an earlier sweep has found out so far, the oldest trial first.

    ::

        optimizer = OptunaOptimizer()
        for obs in load_observations("previous_sweep"):
            optimizer.observe(obs.trial, obs.result)

    Trials that run, or that failed by nobody's fault, are left out; those that were paused or stopped say
    with ``trial.ended_at`` at which step. Their numbers are below 0, so they are never mistaken for trials
    that the optimizer suggests.

    Args:
        source: Name of a sweep of the current project, path of a ledger or of a sweep's folder, or results.

    Returns:
        For each trial the value that counted there (by its name, if it has one) or its failure, and beside it
        all of its metrics and how long it ran.

    Raises:
        SweepNotFound: When there is no sweep of that name.
        DefinitionError: When there is no ledger at that path.
        StoreError: When it cannot be read.
    """
    global _loaded
    table = _table(source)
    known = observed(table.records)
    with _counting:
        above, _loaded = _loaded, _loaded + len(known)
    renumbered = (k.model_copy(update={"trial": k.trial - above}) for k in known)
    return [observation_of(k, table.objective) for k in renumbered]


def _table(source: str | Path | Results) -> TrialTable:
    if isinstance(source, Results):
        return source.table
    # a path is never the name of a sweep
    named = str(source.absolute()) if isinstance(source, Path) else source
    return trials_in(ledger_of(Settings.of_stores().store, named))
