"""Planning: from calls to a checked tree, and from that to plain data."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from metta.sweep.contracts.errors import DefinitionError, PipelineDefinitionError
from metta.sweep.contracts.plans import (
    ConditionalStep,
    LoopStep,
    ParallelStep,
    PipelineStep,
    Plan,
    StageStep,
    Step,
)
from metta.sweep.pipeline.annotations import hints_of, is_record_class
from metta.sweep.pipeline.asking import Known, Pairs
from metta.sweep.pipeline.assembly import Assembler, Problem
from metta.sweep.pipeline.binding import form_of
from metta.sweep.pipeline.calls import Calls
from metta.sweep.pipeline.checks import Checker
from metta.sweep.pipeline.classes import classes_within
from metta.sweep.pipeline.conversion import Mismatch, restored
from metta.sweep.pipeline.effective import effective
from metta.sweep.pipeline.flows import Flow
from metta.sweep.pipeline.following import Next, predicates_behind
from metta.sweep.pipeline.nodes import Block, Conditional, Loop, Nested, Node, Parallel, Stage, all_nodes


class Definition:
    """A pipeline that fits together.

    Args:
        calls: What was said to the builder.

    Attributes:
        block: Its tree.
        flows: What flows out of each step, by path.

    Raises:
        PipelineDefinitionError: With every mistake, each with file and line of the call that made it.
    """

    def __init__(self, calls: Calls) -> None:
        problems: list[Problem] = []
        self.block: Block = Assembler(problems).block(calls.calls)
        checker = Checker()
        checker.block(self.block)
        self.flows: Mapping[str, Flow] = checker.flows
        pairs = Pairs(self.flows)
        pairs.block(self.block, Known())
        told = [Problem(*problem) for problem in pairs.problems]
        if found := dict.fromkeys(map(str, (*problems, *checker.problems, *told))):
            raise PipelineDefinitionError(list(found))

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Every node by its path."""
        return {node.path: node for node in all_nodes(self.block)}

    @cached_property
    def predicates(self) -> Mapping[str, Next]:
        """The predicates that are asked right behind stages, by the stage's path."""
        return predicates_behind(self.plan)

    @cached_property
    def classes(self) -> frozenset[type]:
        """Classes that are declared to flow, or to be part of what flows."""
        flows, runs = self.flows.values(), [n.run for n in self.nodes.values() if isinstance(n, Stage)]
        fields = [field.type for flow in flows for field in (flow.fields or {}).values()]
        taken = [hint for run in runs if run is not None for hint in hints_of(run).values()]
        return frozenset(classes_within([*(flow.type for flow in flows), *fields, *taken]))

    def input_from(self, plain: JsonValue) -> Any:
        """What flows into the first stage, from plain JSON: as that stage declares to take it.

        Raises:
            DefinitionError: When it does not fit.
        """
        first = self.block[0] if self.block else None
        form = form_of(first.run) if isinstance(first, Stage) and first.run else None
        if plain is None or form is None or form.whole is None:
            return plain
        if isinstance(plain, dict) and not is_record_class(form.hint(form.whole)):
            return plain  # its fields flow
        try:
            return restored(json.dumps(plain).encode(), form.hint(form.whole))
        except Mismatch as error:
            raise DefinitionError([str(error)], "the input") from error

    @cached_property
    def plan(self) -> Plan:
        """The same without code."""
        return self._plan(self.block)

    def _plan(self, block: Block) -> Plan:
        return Plan(steps=tuple(map(self._step, block)))

    def _step(self, node: Node) -> Step:
        match node:
            case Stage():
                return self._stage(node)
            case Nested():
                return PipelineStep(path=node.path, body=self._plan(node.body))
            case Parallel():
                return ParallelStep(path=node.path, branches=tuple(map(self._plan, node.branches.values())))
            case Conditional():
                then, otherwise = self._plan(node.then), self._plan(node.otherwise)
                return ConditionalStep(path=node.path, then=then, otherwise=otherwise)
            case Loop():
                body = self._plan(node.body)
                return LoopStep(path=node.path, body=body, max_iterations=node.max_iterations)

    def _stage(self, node: Stage) -> StageStep:
        hooks = effective(node)
        return StageStep(
            path=node.path,
            gives=str(self.flows[node.path]),
            hooks=hooks.names,
            retry=hooks.retry,
            timeout_s=hooks.timeout_s,
            recovers="on_error" in hooks.names,
            workflow=node.experiment.child_workflow if node.experiment else None,
        )
