"""Debugging: a sweep in this process, without Temporal; prints and breakpoints work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from metta.sweep.client.results import Results
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import code_here
from metta.sweep.contracts.budgets import Control
from metta.sweep.contracts.components import load
from metta.sweep.contracts.errors import SweepFailed
from metta.sweep.contracts.objectives import caller_of
from metta.sweep.contracts.sweeps import SessionInput, SweepInput
from metta.sweep.runners.inline import InlinePool
from metta.sweep.search.host import host
from metta.sweep.stores.files import FileStore


def debugged(name: str, definition: SweepInput, objective: Callable[..., Any] | str) -> Results:
    """Run a sweep here, one trial at a time; its ledger is that of any other sweep.

    Args:
        name: Name of the sweep.
        definition: What it is.
        objective: The function itself, or a reference to it.

    Raises:
        SweepFailed: When no trial succeeded.
    """
    store = FileStore(Settings.load().store)
    store.prepare()
    control = Control(run=f"debug-{uuid4().hex}", budget=definition.budget)
    session = SessionInput(sweep_id=name, spec=definition.spec, control=control, resume=definition.resume)
    pool = InlinePool(caller_of(load(objective) if isinstance(objective, str) else objective))
    with ThreadPoolExecutor(1) as thread:
        # the session works beside, so that the objective has this thread, where debuggers work
        end = thread.submit(host(session, store, code_here(), pool).run, control)
        try:
            pool.serve()
        finally:
            pool.wake()
        result = end.result()
    if result and result.reason == "failed":
        raise SweepFailed(result.message)
    return Results.of(name, store.ledger(name))
