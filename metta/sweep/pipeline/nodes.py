"""Nodes: a pipeline with its code, as a tree."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import JsonValue

from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.boundaries import Boundary
from metta.sweep.pipeline.sites import Site


@runtime_checkable
class Experiment(Protocol):
    """What may stand in the place of a stage's code: its work is done by a workflow of its own."""

    @property
    def child_workflow(self) -> Literal["Sweep", "Experiment"]:
        """Type of the workflow."""
        ...

    @property
    def child_block(self) -> "Block":
        """Its pipeline; empty when it has none, and takes nothing of what flows in."""
        ...

    def child_input(self, given: Value) -> dict[str, JsonValue]:
        """Input of the workflow.

        Args:
            given: What flows into the stage.
        """
        ...

    def child_summary(self) -> str:
        """One line for people."""
        ...

    def run_here(self, given: Any) -> Any:
        """Do the work in this process.

        Args:
            given: What flows into the stage.
        """
        ...


@dataclass(frozen=True)
class Stage:
    """A stage and the boundary behind it.

    Args:
        path: Where it stands in the pipeline.
        run: Its code; None where there is only a boundary, or an experiment.
        boundary: Contract and hooks.
        shared: Global hooks, those of the innermost pipeline first.
        site: Where it was defined.
        experiment: What does its work in a workflow of its own.
    """

    path: str
    run: Callable[..., Any] | None
    boundary: Boundary
    shared: tuple[Mapping[str, Any], ...]
    site: Site
    experiment: Experiment | None = None


@dataclass(frozen=True)
class Nested:
    """A pipeline used as a stage."""

    path: str
    body: "Block"
    site: Site


@dataclass(frozen=True)
class Parallel:
    """Branches by label, and whether their results are nested under these labels."""

    path: str
    branches: Mapping[str, "Block"]
    by_name: bool
    site: Site


@dataclass(frozen=True)
class Conditional:
    """Two branches, the second of which may be empty."""

    path: str
    predicate: Callable[..., Any]
    then: "Block"
    otherwise: "Block"
    site: Site


@dataclass(frozen=True)
class Loop:
    """A body that is repeated."""

    path: str
    predicate: Callable[..., Any]
    body: "Block"
    max_iterations: int | None
    site: Site


Node: TypeAlias = Stage | Nested | Parallel | Conditional | Loop
Block: TypeAlias = tuple[Node, ...]


def blocks_of(node: Node) -> tuple[Block, ...]:
    """The blocks inside a node."""
    match node:
        case Nested() | Loop():
            return (node.body,)
        case Parallel():
            return tuple(node.branches.values())
        case Conditional():
            return (node.then, node.otherwise)
    return ()


def all_nodes(block: Block) -> Iterator[Node]:
    """Every node, outer ones first."""
    for node in block:
        yield node
        for inner in blocks_of(node):
            yield from all_nodes(inner)
