"""Hosting: the parts of a session, put together from plain data."""

from functools import partial
from uuid import uuid4

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.components import create
from metta.sweep.contracts.errors import NameInUse
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.sweeps import SessionInput
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.runners.pool import Pool
from metta.sweep.runners.processes import ProcessPool
from metta.sweep.search.consent import check_consent
from metta.sweep.search.observers import Observer
from metta.sweep.search.search import Search
from metta.sweep.search.session import Session
from metta.sweep.stores.base import Store
from metta.sweep.stores.observations import prior_of
from metta.sweep.telemetry.tracing import tracer_here


def host(
    input: SessionInput,
    store: Store,
    code: Code,
    pool: Pool | None = None,
    observer: Observer | None = None,
) -> Session:
    """A session for a sweep, ready to run.

    Args:
        input: Which sweep, and its definition.
        store: Where its ledger lies.
        code: Where user code is found; its objective is taken from the definition.
        pool: What runs trials; None starts runner processes as the executor says.
        observer: Who is told of what is recorded.

    Raises:
        NameInUse: When a sweep of that name exists already and is not to be resumed.
        DefinitionError: When a component's name or arguments are wrong.
        Refused: When this worker does not consent to what it names.
    """
    check_consent(input.spec, input.sweep_id)
    ledger = store.ledger(input.sweep_id)
    prior = partial(prior_of, store, input.sweep_id, input.spec)
    writer = uuid4().hex
    search = Search(ledger, input.spec, input.sweep_id, writer, prior=prior, observer=observer)
    recorded = search.table
    if recorded.spec and not input.resume and recorded.control.run != input.control.run:
        raise NameInUse(input.sweep_id)
    return Session(
        search,
        traced(pool or process_pool(input, search, store, code), input.sweep_id),
        store.workplace(input.sweep_id),
        input.spec.resources,
    )


def traced(pool: Pool, sweep: str) -> Pool:
    """A pool whose attempts are spans, where somebody traces; else the pool itself."""
    if (tracer := tracer_here()) is None:
        return pool
    from metta.sweep.runners.traced import TracedPool  # which needs what is not installed everywhere

    return TracedPool(pool, tracer, sweep)


def process_pool(input: SessionInput, search: Search, store: Store, code: Code) -> ProcessPool:
    """The runner processes that a definition asks for."""
    executor = create(LocalExecutor, input.spec.executor)
    objective = str(input.spec.objective)  # no job: those have a lane of their own
    reference = Reference.parse(objective)
    value = str(store.value_path(reference.target)) if reference.kind == "value" else None
    return ProcessPool(
        code.model_copy(update={"objective": objective, "value": value}),
        slots=min(executor.max_parallel, search.scheduler.max_parallel or executor.max_parallel),
        max_trials_per_process=executor.max_trials_per_process,
        timeout_s=input.spec.timeout or executor.timeout,
    )
