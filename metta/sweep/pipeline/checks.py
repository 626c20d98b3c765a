"""Checks: whether the stages of a pipeline fit together, before anything runs."""

from collections.abc import Mapping
from typing import Any

from metta.sweep.pipeline.annotations import FieldType, returned_by
from metta.sweep.pipeline.asking import CONDITIONAL, Observing, Suggesting
from metta.sweep.pipeline.assembly import Problem
from metta.sweep.pipeline.binding import form_of, in_loop, problems_of_binding
from metta.sweep.pipeline.flows import UNKNOWN, Flow, either
from metta.sweep.pipeline.merging import merge_problems, merged_flow
from metta.sweep.pipeline.nodes import Block, Conditional, Loop, Nested, Node, Parallel, Stage
from metta.sweep.pipeline.sites import Site


class Checker:
    """Follows what flows through a pipeline.

    Attributes:
        problems: What does not fit.
        flows: What flows out of each step, by path.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.flows: dict[str, Flow] = {}
        self._loops = 0
        self._conditional: frozenset[str] = frozenset()
        """Parameters of optimizers that not every trial has."""

    def block(self, block: Block, flow: Flow = UNKNOWN) -> Flow:
        """What flows out of a block."""
        for node in block:
            flow = self.flows[node.path] = self._node(node, flow)
        return flow

    def _node(self, node: Node, flow: Flow) -> Flow:
        match node:
            case Stage():
                return self._stage(node, flow)
            case Nested():
                return self.block(node.body, flow)
            case Parallel():
                return self._parallel(node, flow)
            case Conditional():
                self._takes(node.site, "the predicate", node.predicate, flow)
                return either(self.block(node.then, flow), self.block(node.otherwise, flow))
            case Loop():
                return self._loop(node, flow)

    def _report(self, site: Site, subject: str, texts: list[str]) -> None:
        self.problems += [Problem(site, f"{subject}: {text}") for text in texts]

    def _takes(self, site: Site, subject: str, function: Any, flow: Flow) -> None:
        if callable(function):
            offered = in_loop(flow) if self._loops else flow
            problems = problems_of_binding(function, offered)
            takes = {parameter.name for parameter in form_of(function).required} & self._conditional
            missing = sorted(takes - (flow.fields or {}).keys()) if problems else []
            problems += [f"{name}: {CONDITIONAL}" for name in missing]
            self._report(site, subject, problems)

    def _stage(self, stage: Stage, flow: Flow) -> Flow:
        subject = f"stage {stage.path}"
        returned = flow
        if isinstance(stage.run, Suggesting):
            return self._suggested(stage, stage.run, flow)
        if stage.run is not None and not isinstance(stage.run, Observing):
            self._takes(stage.site, subject, stage.run, flow)
            returned = Flow.of(returned_by(stage.run))
        elif stage.experiment is not None:
            returned = self._nested(stage.site, subject, stage.experiment.child_block, flow)
        boundary = stage.boundary
        outflow = boundary.outflow(flow, returned)
        site = boundary.site or stage.site
        self._report(site, subject, boundary.problems(flow, returned))
        if "skip_if" in boundary.hooks:
            self._report(site, subject, _problems_of_skipping(flow, outflow))
        return outflow

    def _suggested(self, stage: Stage, run: Suggesting, flow: Flow) -> Flow:
        subject, boundary = f"stage {stage.path}", stage.boundary
        self._report(boundary.site or stage.site, subject, list(run.problems(boundary, flow)))
        self._conditional |= run.conditional
        return run.outflow(boundary, flow)

    def _nested(self, site: Site, subject: str, block: Block, flow: Flow) -> Flow:
        """What an experiment gives; its mistakes are told where it is used, for alone it may have none."""
        checker = Checker()
        returned = checker.block(block, flow) if block else UNKNOWN
        self._report(site, subject, [text for _, text in checker.problems])
        return returned

    def _parallel(self, node: Parallel, flow: Flow) -> Flow:
        results = {label: self.block(branch, flow) for label, branch in node.branches.items()}
        if node.by_name:
            named = {label: FieldType(result.type) for label, result in results.items()}
            return Flow.record({**(flow.fields or {}), **named})
        own = {label: declared_in(branch, self.flows) for label, branch in node.branches.items()}
        self._report(node.site, "parallel()", merge_problems(results, own))
        return merged_flow(flow, results)

    def _loop(self, node: Loop, flow: Flow) -> Flow:
        self._loops += 1
        self._takes(node.site, "the predicate", node.predicate, flow)
        after = self.block(node.body, flow)
        self._again(node, after)
        self._loops -= 1
        return after

    def _again(self, node: Loop, flow: Flow) -> None:
        """A second turn has to work with what the first one gave."""
        known = set(self.problems)
        before = len(self.problems)
        self._takes(node.site, "the predicate", node.predicate, flow)
        self.block(node.body, flow)
        second = [problem for problem in self.problems[before:] if problem not in known]
        self.problems[before:] = [
            Problem(site, f"{text} (in the second turn of the loop at {node.site})") for site, text in second
        ]


def _problems_of_skipping(flow: Flow, outflow: Flow) -> list[str]:
    """Why the input cannot be passed on in place of the output."""
    if outflow.fields is None:
        return [f"skip_if passes {flow} on: {reason}" for reason in flow.reasons(outflow.type)]
    if flow.is_unknown:
        return []
    missing = [
        name for name, kind in outflow.fields.items() if kind.required and name not in (flow.fields or {})
    ]
    if missing:
        return [f"skip_if passes {flow} on, which has no {', '.join(missing)}"]
    return [] if flow.fits(outflow.type) else [f"skip_if passes {flow} on, but {outflow} is declared"]


def declared_in(block: Block, flows: Mapping[str, Flow]) -> frozenset[str] | None:
    """Fields that a branch gives of its own; None when it gives a value of a class, or nobody knows.

    A branch of fields carries those that came in along with its own.
    """
    own: set[str] = set()
    for node in block:
        if isinstance(node, Stage) and isinstance(node.run, Suggesting | Observing) and not _says(node):
            own |= node.run.own.keys() if isinstance(node.run, Suggesting) else set()
            continue
        if not isinstance(node, Stage) or (flows[node.path].fields is None) or not node.boundary.fields:
            return None
        own |= node.boundary.fields.keys()
    return frozenset(own)


def _says(stage: Stage) -> bool:
    """Whether its boundary says what flows on."""
    return bool(stage.boundary.fields) or stage.boundary.contract is not None
