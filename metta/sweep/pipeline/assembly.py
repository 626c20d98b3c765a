"""Assembly: the calls of a builder put together to a tree, with all that is wrong with their form."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.errors import shown
from metta.sweep.pipeline.annotations import is_type
from metta.sweep.pipeline.asking import problem_of_turn, turn_of
from metta.sweep.pipeline.boundaries import Boundary
from metta.sweep.pipeline.calls import (
    Call,
    Calls,
    ConditionalCall,
    EndLoopCall,
    GlobalHooksCall,
    LoopCall,
    ParallelCall,
    StageCall,
    ThroughCall,
)
from metta.sweep.pipeline.hooks import HOOKS, problem_of_hook
from metta.sweep.pipeline.nodes import Block, Conditional, Experiment, Loop, Nested, Node, Parallel, Stage
from metta.sweep.pipeline.sites import Site

CODE_ONLY = ("cache", "cache_key", "profile", "retry", "timeout")
"""Hooks that say something of a stage's code."""

STAGE_ONLY = ("skip_if", *CODE_ONLY)
"""Hooks that say something of a stage."""

_NAME = re.compile(r"\w[\w.\- ]{,99}")


class Problem(NamedTuple):
    """A mistake, and the call that made it."""

    site: Site
    text: str

    def __str__(self) -> str:
        return f"{self.site}: {self.text}"


@dataclass
class _Open:
    """Nodes of a block that is not complete yet, and the call that opened it."""

    call: LoopCall | None
    nodes: list[Node] = field(default_factory=list)


class Assembler:
    """Puts the calls of one pipeline together.

    Args:
        problems: Collects what is wrong.
        prefix: Path of the step that the pipeline is, with a slash; empty for the outermost one.
        shared: Global hooks of the pipelines around it.
    """

    def __init__(
        self, problems: list[Problem], prefix: str = "", shared: tuple[Mapping[str, Any], ...] = ()
    ) -> None:
        self._problems, self._prefix, self._shared = problems, prefix, shared
        self._names: dict[str, Site] = {}
        self._generated: Counter[str] = Counter()
        self._open = [_Open(None)]

    def block(self, calls: tuple[Call, ...]) -> Block:
        """The tree of these calls."""
        for call in calls:
            if isinstance(call, GlobalHooksCall):
                self._shared = (self._checked_hooks(call.site, call.hooks, is_global=True), *self._shared)
        calls = tuple(call for call in calls if not isinstance(call, GlobalHooksCall))
        for previous, call, following in zip((None, *calls), calls, (*calls[1:], None), strict=False):
            self._add(previous, call, following)
        while len(self._open) > 1:
            self._close(self._open[-1])
        return tuple(self._open[0].nodes)

    def _add(self, previous: Call | None, call: Call, following: Call | None) -> None:
        match call:
            case StageCall():
                self._append(self._stage(call, following if isinstance(following, ThroughCall) else None))
            case ThroughCall():
                # behind a stage it has been taken along with it
                if not isinstance(previous, StageCall) or isinstance(previous.run, Calls):
                    self._boundary_alone(call, isinstance(previous, ThroughCall))
            case ParallelCall():
                self._append(self._parallel(call))
            case ConditionalCall():
                self._append(self._conditional(call))
            case LoopCall():
                self._predicate(call.site, call.predicate)
                self._report(call.site, count_problems(max_iterations=call.max_iterations))
                self._open.append(_Open(call))
            case EndLoopCall():
                self._end_loop(call)

    def _append(self, node: Node) -> None:
        self._open[-1].nodes.append(node)

    def _report(self, site: Site, texts: Iterator[str] | list[str]) -> None:
        self._problems += [Problem(site, text) for text in texts]

    def _stage(self, call: StageCall, through: ThroughCall | None) -> Node:
        path = self._named(call)
        if isinstance(call.run, Calls):
            return Nested(
                path, Assembler(self._problems, f"{path}/", self._shared).block(call.run.calls), call.site
            )
        boundary = self._boundary(through, behind_stage=True) if through else Boundary()
        return self._leaf(path, call.run, boundary, call.site, f"stage {call.name!r}")

    def _leaf(self, path: str, run: Any, boundary: Boundary, site: Site, subject: str) -> Stage:
        if isinstance(run, Experiment) and not isinstance(run, type):
            site_of_hooks = boundary.site or site
            said = [name for name in boundary.hooks if name in CODE_ONLY]
            advice = "belongs behind a function; an experiment keeps its own record"
            self._report(site_of_hooks, [f"{name} {advice}" for name in said])
            return Stage(path, None, boundary, self._shared, site, run)
        if isinstance(run, type) and hasattr(run, "child_workflow"):
            self._report(site, [f"{subject} is a class; call it: {run.__name__}()"])
        elif not callable(run):
            wanted = "a function, a pipeline or an experiment"
            self._report(site, [f"{subject} has to be {wanted}, got {shown(run)}"])
        if problem := problem_of_turn(run):
            self._report(site, [f"{subject}: {problem}"])
        code = turn_of(run) or run
        return Stage(path, code if callable(code) else None, boundary, self._shared, site)

    def _named(self, call: StageCall) -> str:
        name = call.name if isinstance(call.name, str) else repr(call.name)
        if not isinstance(call.name, str) or not _NAME.fullmatch(name):
            advice = "use letters, digits, and . - _ or spaces, 100 at most"
            self._report(call.site, [f"{shown(call.name)} cannot be the name of a stage; {advice}"])
        elif name in self._names:
            self._report(call.site, [f"there is a stage {name!r} already, at {self._names[name]}"])
        self._names.setdefault(name, call.site)
        return self._prefix + name

    def _generate(self, name: str) -> str:
        self._generated[name] += 1
        number = self._generated[name]
        return f"{self._prefix}@{name}" + (f"-{number}" if number > 1 else "")

    def _boundary_alone(self, call: ThroughCall, is_second: bool) -> None:
        if is_second:
            self._report(call.site, ["there is a through() right before this one; give both together"])
        boundary = self._boundary(call, behind_stage=False)
        self._append(Stage(self._generate("through"), None, boundary, self._shared, call.site))

    def _boundary(self, call: ThroughCall, *, behind_stage: bool) -> Boundary:
        names = [name for name, value in call.said.items() if name not in HOOKS and is_type(value)]
        fields = {name: call.said[name] for name in names}
        hooks = {name: value for name, value in call.said.items() if name not in fields}
        self._report(call.site, self._problems_of_contract(call.contract, fields, hooks))
        if not behind_stage:
            alone = [name for name in hooks if name in STAGE_ONLY]
            self._report(
                call.site, [f"{name} belongs behind a function, and there is none" for name in alone]
            )
        return Boundary(call.contract, fields, self._checked_hooks(call.site, hooks), call.site)

    @staticmethod
    def _problems_of_contract(
        contract: Any, fields: Mapping[str, Any], hooks: Mapping[str, Any]
    ) -> Iterator[str]:
        if contract is not None and not is_type(contract):
            yield f"a contract has to be a class, got {shown(contract)}"
        if contract is not None:
            yield from (
                f"{name} cannot be a field beside the contract {getattr(contract, '__name__', contract)},"
                f" and is no hook"
                for name in fields
            )
        if contract is None and not fields and not hooks:
            yield "through() has to be given a contract, fields or hooks"

    def _checked_hooks(
        self, site: Site, hooks: Mapping[str, Any], *, is_global: bool = False
    ) -> Mapping[str, Any]:
        """Hooks that are in order; False and None mean that there is none."""
        said = {name: value for name, value in hooks.items() if value is not None and value is not False}
        wrong = {name: problem_of_hook(name, value, is_global=is_global) for name, value in said.items()}
        self._report(site, [problem for problem in wrong.values() if problem])
        return {name: value for name, value in said.items() if not wrong[name]}

    def _predicate(self, site: Site, predicate: Any) -> None:
        if not callable(predicate):
            self._report(site, [f"a predicate has to be a function, got {shown(predicate)}"])

    def _parallel(self, call: ParallelCall) -> Node:
        path, said = self._generate("parallel"), call.branches
        by_name = isinstance(said, Mapping)
        if not isinstance(said, Mapping | list) or not said:
            problem = f"parallel() has to be given a list or dict of branches, got {shown(said)}"
            self._report(call.site, [problem])
            return Parallel(path, {}, by_name, call.site)
        given = said if isinstance(said, Mapping) else dict(zip(_labels(said), said, strict=True))
        branches = {
            str(label): self._branch(f"{path}/{label}", branch, call.site) for label, branch in given.items()
        }
        self._report(
            call.site,
            [
                f"{n!r} cannot be a field; name branches like variables"
                for n in branches
                if by_name and not n.isidentifier()
            ],
        )
        return Parallel(path, branches, by_name, call.site)

    def _branch(self, path: str, branch: Any, site: Site) -> Block:
        if isinstance(branch, Calls):
            return Assembler(self._problems, f"{path}/", self._shared).block(branch.calls)
        return (self._leaf(path, branch, Boundary(), site, "a branch"),)

    def _conditional(self, call: ConditionalCall) -> Node:
        path = self._generate("if")
        self._predicate(call.site, call.predicate)
        then = self._branch(f"{path}/then", call.then, call.site)
        otherwise = () if call.otherwise is None else self._branch(f"{path}/else", call.otherwise, call.site)
        return Conditional(path, call.predicate, then, otherwise, call.site)

    def _end_loop(self, call: EndLoopCall) -> None:
        opened = self._open[-1]
        if opened.call is None:
            self._report(call.site, ["end_loop() without loop_while()"])
            return
        if not opened.nodes:
            self._report(opened.call.site, ["the loop is empty"])
        self._close(opened, closed=True)

    def _close(self, opened: _Open, *, closed: bool = False) -> None:
        self._open.pop()
        call = opened.call
        assert call is not None
        if not closed:
            self._report(call.site, ["loop_while() without end_loop()"])
        self._append(
            Loop(self._generate("loop"), call.predicate, tuple(opened.nodes), call.max_iterations, call.site)
        )


def _labels(branches: list[Any]) -> list[str]:
    """Names of branches that have none: that of their function where it is telling, else their number."""
    names = [getattr(branch, "__name__", "") for branch in branches]
    return [
        name if name.isidentifier() and names.count(name) == 1 else str(number)
        for number, name in enumerate(names, 1)
    ]
