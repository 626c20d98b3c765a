"""Handovers: what reaches other processes through the store, because no name leads them to it."""

from collections.abc import Sequence
from typing import Any

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.references import Reference
from metta.sweep.contracts.trials import Observation
from metta.sweep.stores.base import Store
from metta.sweep.stores.observations import VALUE, located, written


def handed_over(store: Store, reference: str, value: Any) -> str:
    """Put code into the store that has to travel by value.

    Args:
        store: The store.
        reference: What it is called, by value and without a hash.
        value: The code: a function, a class or a pipeline.

    Returns:
        The reference with the hash of the value.

    Raises:
        DefinitionError: When it cannot travel.
    """
    import cloudpickle  # 10 ms that nobody else pays

    named = Reference.parse(reference)
    try:
        pickled = cloudpickle.dumps(value)
    except Exception as error:  # pickling runs user code, which may raise anything
        problem = (
            f"{named.name} has to travel to other processes by value, and cannot:"
            f" {type(error).__name__}: {error}. Define it in a module or script, and make there what"
            " cannot travel"
        )
        raise DefinitionError([problem], "what is run") from error
    return str(named._replace(target=store.put_value(pickled)))


def findable(reference: Reference, value: Any) -> str:
    """A reference that other processes find: what has none by name goes into the project's store.

    Raises:
        DefinitionError: When it cannot travel.
    """
    if reference.kind != "value":
        return str(reference)
    return handed_over(Settings.of_stores().store, str(reference), value)


def begun_here(sources: Sequence[str], observations: Sequence[Observation]) -> tuple[str, ...]:
    """The same as ``beginning``, in the store of the current folder's project."""
    return beginning(Settings.of_stores().store, sources, observations)


def beginning(store: Store, sources: Sequence[str], observations: Sequence[Observation]) -> tuple[str, ...]:
    """A warm start in a form that other processes find, wherever they stand.

    Args:
        store: The store.
        sources: Names of sweeps, and paths of ledgers.
        observations: What it begins with besides these.
    """
    found = [located(store, source) for source in sources]
    if observations:
        found.append(VALUE + store.put_value(written(observations)))
    return tuple(found)
