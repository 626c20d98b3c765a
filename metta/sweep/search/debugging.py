"""Debugging: a search in this process, without Temporal; prints and breakpoints work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.components import load
from metta.sweep.contracts.errors import SweepFailed
from metta.sweep.contracts.objectives import caller_of
from metta.sweep.contracts.sweeps import SessionInput
from metta.sweep.runners.inline import InlinePool
from metta.sweep.search.host import host
from metta.sweep.stores.base import Store


def debugged(input: SessionInput, store: Store, code: Code, objective: Callable[..., Any] | str) -> None:
    """Run a search here, one trial at a time; its ledger is that of any other sweep.

    Args:
        input: Which sweep, and its definition.
        store: Where it is recorded.
        code: Where user code is found.
        objective: The function itself, or a reference to it.

    Raises:
        DefinitionError: When it cannot be run as it is defined.
        NameInUse: When a sweep of that name exists already and is not to be resumed.
        SweepFailed: When no trial succeeded.
    """
    store.prepare()
    pool = InlinePool(caller_of(load(objective) if isinstance(objective, str) else objective))
    session = host(input, store, code, pool)
    with ThreadPoolExecutor(1) as thread:
        # the session works beside, so that the objective has this thread, where debuggers work
        end = thread.submit(session.run, input.control)
        try:
            pool.serve()
        finally:
            session.close()
        result = end.result()
    if result and result.reason == "failed":
        raise SweepFailed(result.message)
