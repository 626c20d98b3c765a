"""Calls: what was said to the builder, as it was said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from metta.sweep.pipeline.sites import Site


@dataclass(frozen=True)
class StageCall:
    """``.stage(name, run)``; ``run`` is a callable, or the calls of a pipeline."""

    site: Site
    name: Any
    run: Any


@dataclass(frozen=True)
class ThroughCall:
    """``.through(contract, **said)``; what was said is fields and hooks."""

    site: Site
    contract: Any
    said: Mapping[str, Any]


@dataclass(frozen=True)
class ParallelCall:
    """``.parallel(branches)``."""

    site: Site
    branches: Any


@dataclass(frozen=True)
class ConditionalCall:
    """``.conditional(predicate, then, otherwise)``."""

    site: Site
    predicate: Any
    then: Any
    otherwise: Any


@dataclass(frozen=True)
class LoopCall:
    """``.loop_while(predicate, max_iterations=...)``."""

    site: Site
    predicate: Any
    max_iterations: Any


@dataclass(frozen=True)
class EndLoopCall:
    """``.end_loop()``."""

    site: Site


@dataclass(frozen=True)
class GlobalHooksCall:
    """``.with_global_hooks(**hooks)``."""

    site: Site
    hooks: Mapping[str, Any]


Call: TypeAlias = (
    StageCall | ThroughCall | ParallelCall | ConditionalCall | LoopCall | EndLoopCall | GlobalHooksCall
)


@dataclass(frozen=True)
class Calls:
    """The calls of one pipeline in their order."""

    calls: tuple[Call, ...]
