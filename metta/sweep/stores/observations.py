"""Observations: what earlier sweeps have found out, for optimizers that begin with it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from metta.sweep.contracts.errors import BadMetric, DefinitionError, LedgerCorrupt, SpaceError, SweepNotFound
from metta.sweep.contracts.events import Known
from metta.sweep.contracts.failures import UNTELLING, Failure
from metta.sweep.contracts.metrics import BARE, Objective
from metta.sweep.contracts.models import json_ready, problems_of
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.contracts.reports import finite
from metta.sweep.contracts.sweeps import SweepSpec
from metta.sweep.contracts.trials import Observation, Result, Trial
from metta.sweep.contracts.wording import left_out_text
from metta.sweep.stores.base import Ledger, Store
from metta.sweep.stores.files import LEDGER
from metta.sweep.stores.ledgers import FileLedger
from metta.sweep.stores.trials import TrialTable

VALUE = "value:"
"""Before the hash of observations that lie in the store, a JSON line each."""


def prior_of(store: Store, sweep_id: str, spec: SweepSpec) -> list[Known]:
    """What the warm start of a definition comes to, the oldest trial first.

    Args:
        store: Where sweeps are looked for by name.
        sweep_id: The sweep that is to begin with it.
        spec: Its definition.

    Returns:
        Trials of earlier sweeps. Those that the sweep cannot use say why.

    Raises:
        SweepNotFound: When there is no sweep of that name.
        DefinitionError: When nothing of it can be used, with the reason.
    """
    found = _judged((known for source in spec.warm_start for known in _found(store, sweep_id, source)), spec)
    if spec.warm_start and not found:
        problem = f"no trial of {' or '.join(spec.warm_start)} has come to an end that tells something"
        raise DefinitionError([problem], "the warm start")
    if found and all(known.left_out for known in found):
        raise DefinitionError([left_out_text(found)], f"the sweep {sweep_id}")
    return _numbered(found)


def ledger_of(store: Store, source: str) -> Ledger:
    """The ledger of a sweep, by its name in the store, its own path or that of its folder.

    Raises:
        SweepNotFound: When there is no sweep of that name.
        DefinitionError: When there is no ledger at that path.
    """
    names = store.names()
    if source in names:
        return store.ledger(source)
    path = Path(source).expanduser()
    if path.is_dir():
        path /= LEDGER
    if path.is_file():
        return FileLedger(path)
    if len(path.parts) == 1:
        raise SweepNotFound(source, names)
    raise DefinitionError([f"there is no ledger at {path}"], "the path of a sweep")


def located(store: Store, source: str) -> str:
    """A warm start that means the same in every folder."""
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() and source not in store.names() else source


def trials_in(ledger: Ledger) -> TrialTable:
    """What a ledger says, which may be any file that somebody named.

    Raises:
        DefinitionError: When it is no ledger.
        LedgerCorrupt: When it is a damaged one.
    """
    if ledger.exists():
        try:
            return TrialTable(ledger.read())
        except LedgerCorrupt as error:
            if error.line > 1:
                raise
    raise DefinitionError(["it is no ledger; a sweep's is called ledger.jsonl"], ledger.uri)


def observed(records: Iterable[TrialRecord], source: str = "") -> list[Known]:
    """Trials that do not run and tell something: those with a result, or that failed by their own fault."""
    known = (
        Known(
            at=0.0,
            trial=-1,
            params=r.params,
            metrics={} if r.failure else r.metrics,
            failure=r.failure,
            ended_at=r.step if r.status in ("paused", "stopped") else None,
            seconds=r.seconds,
            source=source,
        )
        for r in records
        if not r.running and (r.failure.kind not in UNTELLING if r.failure else r.metrics)
    )
    return _numbered(known)


def observation_of(known: Known, objective: Objective | None = None) -> Observation:
    """An observation that any optimizer can be told by hand.

    Args:
        known: The trial.
        objective: The metric that counts; None leaves all of them in the result.
    """
    trial = Trial(known.params, known.trial, ended_at=known.ended_at)
    result: Result = known.failure or known.metrics
    if known.metrics.keys() == {BARE}:
        result = known.metrics[BARE]
    elif objective and objective.metric in known.metrics:
        result = {objective.metric: known.metrics[objective.metric]}
    return Observation(trial, result, known.metrics or None, known.seconds)


def written(observations: Iterable[Observation]) -> bytes:
    """Observations as they are kept in the store.

    Raises:
        DefinitionError: When one cannot be written as JSON.
    """
    return b"".join(_known(observation).model_dump_json().encode() + b"\n" for observation in observations)


def _known(observation: Observation) -> Known:
    failure = observation.result if isinstance(observation.result, Failure) else None
    metrics: dict[str, float] = {}
    if failure is None:
        result = observation.metrics or observation.result
        try:
            metrics = finite(result if isinstance(result, Mapping) else {BARE: result})
        except BadMetric as error:
            failure = Failure(kind="bad_metric", message=str(error))
    trial = observation.trial
    try:
        return Known(
            at=0.0,
            trial=-1,
            params=json_ready(trial.params),
            metrics=metrics,
            failure=failure,
            ended_at=trial.ended_at,
            seconds=observation.seconds,
        )
    except ValidationError as error:
        raise DefinitionError([*problems_of(error, Known)], f"the observation of {trial}") from None


def _found(store: Store, sweep_id: str, source: str) -> list[Known]:
    if source.startswith(VALUE):
        return [known.model_copy(update={"source": source}) for known in _kept(store, source)]
    ledger = store.ledger(sweep_id) if source == sweep_id else ledger_of(store, source)
    if ledger.uri == store.ledger(sweep_id).uri:
        problem = f"{sweep_id} cannot begin with itself; resume=True (`--resume`) goes on with it"
        raise DefinitionError([problem], "the warm start")
    return observed(trials_in(ledger).records, source)


def _kept(store: Store, source: str) -> list[Known]:
    path = store.value_path(source.removeprefix(VALUE))
    if not path.is_file():
        raise DefinitionError([f"there is no {source} in the store {store.address}"], "the warm start")
    try:
        return [Known.model_validate_json(line) for line in path.read_bytes().splitlines()]
    except ValidationError as error:
        raise DefinitionError([*problems_of(error, Known)], f"the observations {path}") from None


def _judged(found: Iterable[Known], spec: SweepSpec) -> list[Known]:
    """The same trials as the definition sees them: bare numbers have a name, and some are left out."""
    judged: list[Known] = []
    objective: Objective | None = None
    for known in found:
        metrics = known.metrics
        if spec.metric and metrics.keys() == {BARE}:
            metrics = {spec.metric: metrics[BARE]}
        problem = _misplaced(known, spec)
        if not (problem or known.failure):
            # the same rule as in the trial table, where those that are taken say which metric counts
            objective = objective or Objective.resolve(spec.metric, spec.goal, metrics)
            problem = _unmeasured(metrics, objective)
        judged.append(known.model_copy(update={"metrics": metrics, "left_out": problem}))
    return judged


def _misplaced(known: Known, spec: SweepSpec) -> str:
    """Why a trial says nothing of any point of the space; empty when it does."""
    if known.failure and known.failure.kind in UNTELLING:
        return f"a failure of kind {known.failure.kind} says nothing of its parameters"
    try:
        spec.search_space.validate(known.params)
    except SpaceError as error:
        return "; ".join(error.problems)
    return ""


def _unmeasured(metrics: Mapping[str, float], objective: Objective | None) -> str:
    """Why nobody can say how good a trial was; empty when it has the metric that counts."""
    got = ", ".join(sorted(metrics))
    if objective is None and metrics.keys() == {BARE}:
        return 'it gave a bare number: add goal="maximize" or goal="minimize", or metric='
    if objective is None:
        return f"it gave {got}, and nothing says which of them counts: add metric="
    if objective.metric not in metrics:
        return f"it gave {got}, but not {objective.metric!r}, the metric that counts"
    return ""


def _numbered(known: Iterable[Known]) -> list[Known]:
    """The same, with numbers from -n to -1."""
    found = list(known)
    return [k.model_copy(update={"trial": n - len(found)}) for n, k in enumerate(found)]
