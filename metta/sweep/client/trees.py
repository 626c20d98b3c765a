"""Trees: what runs within an experiment or sweep, at any depth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from metta.sweep.client.attaching import AnyHandle, handle_of
from metta.sweep.client.settings import Settings
from metta.sweep.client.starts import Starts
from metta.sweep.contracts.experiments import ExperimentStatus
from metta.sweep.contracts.nested import below, parents_of
from metta.sweep.contracts.sweeps import SweepStatus


@dataclass
class Tree:
    """Something that runs, or has run, and what runs within it.

    Args:
        name: Its name.
        status: Where it stands.
        children: What it has started, by name.
    """

    name: str
    status: SweepStatus | ExperimentStatus
    children: list["Tree"] = field(default_factory=list)

    def walk(self) -> Iterator["Tree"]:
        """It, and all within it."""
        yield self
        for child in self.children:
            yield from child.walk()


def tree_of(handle: AnyHandle, settings: Settings | None = None) -> Tree:
    """What runs within something.

    Args:
        handle: The sweep or experiment.
        settings: Which project; None means that of the current folder.

    Raises:
        StoreError: When something that is recorded cannot be read.
    """
    starts = Starts(settings)
    within = within_of(handle.name, starts.settings)
    trees = {name: Tree(name, handle_of(name, starts).status()) for name in within}
    root = trees[handle.name] = Tree(handle.name, handle.status())
    for name, parent in parents_of(within, [handle.name, *within]).items():
        trees[parent].children.append(trees[name])
    return root


def within_of(name: str, settings: Settings) -> Sequence[str]:
    """Names of all that is recorded within something."""
    store = settings.store
    return below(name, [*store.names(), *store.experiment_names()])
