"""Asking: the stages that are methods of an optimizer, one to suggest a trial, one to observe it.

Nothing of optimizers is known here but ``__turns__``. What was suggested last stays with the optimizer,
which lies in a field of the experiment: so the trial flows beside the values, whatever becomes of these.
"""

from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any, NamedTuple, Protocol

from metta.sweep.contracts.errors import nearest
from metta.sweep.pipeline.annotations import FieldType, accepts, type_text
from metta.sweep.pipeline.boundaries import Boundary
from metta.sweep.pipeline.flows import UNKNOWN, Flow
from metta.sweep.pipeline.late import Held, held_by
from metta.sweep.pipeline.nodes import Block, Conditional, Loop, Nested, Node, Parallel, Stage
from metta.sweep.pipeline.records import fields_of, merged
from metta.sweep.pipeline.sites import Site


class Turns(Protocol):
    """An optimizer, as its method ``__turns__`` gives it."""

    @property
    def parameters(self) -> Mapping[str, Any] | None:
        """Types of the parameters of trials, by name; None when nobody knows."""
        ...

    @property
    def conditional(self) -> frozenset[str]:
        """Parameters that not every trial has."""
        ...

    def suggested(self) -> dict[str, Any]:
        """The parameters of one more trial."""
        ...

    def observed(self, metric: str, value: object) -> None:
        """Tell what became of the trial that was suggested last."""
        ...


class _Turn:
    """A stage of an optimizer.

    Args:
        method: The late method that was given for it.
        held: The optimizer.
    """

    def __init__(self, method: Any, held: Held) -> None:
        self.__name__: str = method.__name__
        self.__wrapped__ = method.__wrapped__  # whose code it is that runs
        self.optimizer = str(held)
        self._held = held

    @property
    def turns(self) -> Turns:
        """The optimizer as it is now."""
        turns: Turns = self._held.value.__turns__()
        return turns


class Suggesting(_Turn):
    """The stage ``optimizer.suggest``: gives the parameters of one trial as fields."""

    def __init__(self, method: Any, held: Held) -> None:
        super().__init__(method, held)
        self.parameters = self.turns.parameters
        self.conditional = self.turns.conditional

    @property
    def own(self) -> Mapping[str, FieldType]:
        """Fields that each trial gives."""
        known = self.parameters or {}
        return {name: FieldType(kind) for name, kind in known.items() if name not in self.conditional}

    def before(self, flow: Flow) -> Flow:
        """What flows in, without the trial before."""
        if flow.fields is None or self.parameters is None:
            return flow
        kept = {name: kind for name, kind in flow.fields.items() if name not in self.parameters}
        return flow if len(kept) == len(flow.fields) else Flow.record(kept)

    def outflow(self, boundary: Boundary, flow: Flow) -> Flow:
        """What flows on."""
        before = self.before(flow)
        gives = UNKNOWN if self.parameters is None else Flow.record({**(before.fields or {}), **self.own})
        return boundary.outflow(before, gives)

    def problems(self, boundary: Boundary, flow: Flow) -> Iterator[str]:
        """What is wrong with the boundary behind it, one sentence each."""
        wrong = [name for name in ("cache", "cache_key") if name in boundary.hooks]
        yield from (f"{name} cannot stand here: each suggestion is another one" for name in wrong)
        if self.parameters is None:
            return
        names = [name for name in boundary.fields if name in self.parameters]
        if len(boundary.fields) == 1 and not names:  # all of them are the value of one field
            name, kind = next(iter(boundary.fields.items()))
            if not accepts(kind, dict):
                known = nearest(name, list(self.parameters))
                yield f"{name} has to be a parameter{known}, or a dict, got {type_text(kind)}"
            return
        for problem in boundary.problems(self.before(flow), Flow.record(self.own)):
            hint = next((n for n in self.conditional if problem.endswith(f"{n} is missing")), None)
            yield problem + (f"; {CONDITIONAL}" if hint else "")

    def concluded(self, boundary: Boundary, flowing: Any, result: Any) -> Any:
        """What flows on; raises ``Mismatch`` where that does not fit."""
        fields, before = fields_of(flowing) or {}, self.parameters or {}
        if fields.keys() & before.keys():  # of the trial before, which may have had others
            flowing = merged(None, {name: item for name, item in fields.items() if name not in before})
        if boundary.contract is None and not boundary.fields and (given := fields_of(result)) is not None:
            return merged(flowing, given)
        return boundary.concluded(flowing, result)

    def __call__(self, flowing: Any) -> Any:
        """The parameters of one more trial."""
        return self.turns.suggested()


CONDITIONAL = "not every trial has it: let a later parameter of that name have a default"


class Observing(_Turn):
    """The stage ``optimizer.observe``: passes on what flows.

    Attributes:
        metric: The field whose number is told.
    """

    metric = ""

    def __call__(self, flowing: Any) -> Any:
        """Tell the number of the trial that was suggested last."""
        self.turns.observed(self.metric, (fields_of(flowing) or {}).get(self.metric))
        return flowing


Turn = Suggesting | Observing
_KINDS: Mapping[str, type[Turn]] = {"suggest": Suggesting, "observe": Observing}


def turn_of(run: Any) -> Turn | None:
    """The stage that a late method of an optimizer is; None for anything else."""
    held = held_by(run)
    kind = _KINDS.get(getattr(run, "__name__", "")) if held and hasattr(held.value, "__turns__") else None
    return kind(run, held) if kind and held else None


def problem_of_turn(run: Any) -> str | None:
    """What is wrong with a method of an optimizer that no field holds."""
    owner = run.__self__ if isinstance(run, MethodType) else None
    if not hasattr(type(owner), "__turns__") or run.__name__ not in _KINDS:
        return None
    kind = type(owner).__name__
    return (
        f"what {kind} learns would be lost between stages: let an Experiment hold it in a field, such as"
        f" `optimizer: Optimizer = {kind}(...)`, and use self.optimizer.{run.__name__}"
    )


class Known(NamedTuple):
    """What is known at a place in a pipeline.

    Args:
        suggested: Optimizers that have suggested something.
        number: The field with the number that was declared last; empty where there is none.
        is_bare: Whether a number flows that is no field.
    """

    suggested: frozenset[str] = frozenset()
    number: str = ""
    is_bare: bool = False


class Pairs:
    """Finds what each ``observe`` of a pipeline has to tell, and of which ``suggest``.

    Args:
        flows: What flows out of each step, by path.

    Attributes:
        problems: What is wrong.
    """

    def __init__(self, flows: Mapping[str, Flow]) -> None:
        self._flows = flows
        self.problems: list[tuple[Site, str]] = []
        self._told: dict[str, str] = {}

    def block(self, block: Block, known: Known) -> Known:
        """What is known behind a block."""
        for node in block:
            known = self._node(node, known)
        return known

    def _node(self, node: Node, known: Known) -> Known:
        match node:
            case Stage():
                return self._stage(node, known)
            case Nested():
                return self.block(node.body, known)
            case Loop():  # twice, for a turn may begin with what the one before it has ended with
                return self.block(node.body, self.block(node.body, known))
            case Conditional():
                return _either(self.block(node.then, known), self.block(node.otherwise, known))
            case Parallel():
                return self._parallel(node, known)

    def _stage(self, stage: Stage, known: Known) -> Known:
        if isinstance(stage.run, Suggesting):
            return Known(known.suggested | {stage.run.optimizer})  # what was declared before is not of it
        if isinstance(stage.run, Observing):
            texts = self._observed(stage, stage.run, known)
            self.problems += [(stage.site, f"stage {stage.path}: {text}") for text in texts]
        return known._replace(**_number(stage, self._flows[stage.path], known.number))

    def _observed(self, stage: Stage, run: Observing, known: Known) -> Iterator[str]:
        """What is wrong with it, one sentence each."""
        if run.optimizer not in known.suggested:
            near = nearest(run.optimizer, sorted(known.suggested)) if known.suggested else ""
            yield f"no stage before it is self.{run.optimizer}.suggest, of whose trial it could tell{near}"
        if known.is_bare:
            why = "says whether more of it is better; declare it as a field: .through(score=float)"
            yield f"the number that flows has no name, which {why}"
        elif not known.number:
            flow = self._flows[stage.path]
            yield (
                f"no number is declared between suggest and it, and {flow} flows; declare what became"
                " of the trial: .through(score=float)"
            )
        elif (earlier := self._told.setdefault(run.optimizer, known.number)) != known.number:
            yield f"it tells {known.number}, and elsewhere {earlier} is told; let both be one metric"
        run.metric = known.number

    def _parallel(self, node: Parallel, known: Known) -> Known:
        after = {label: self.block(branch, known) for label, branch in node.branches.items()}
        news = [
            label if node.by_name and each.is_bare else each.number
            for label, each in after.items()
            if each != known and not (node.by_name and not each.is_bare)
        ]
        number = next((name for name in reversed(news) if name and name != known.number), known.number)
        return Known(known.suggested.union(*(each.suggested for each in after.values())), number)


def _either(one: Known, other: Known) -> Known:
    number = one.number if one.number == other.number else ""
    return Known(one.suggested & other.suggested, number, one.is_bare or other.is_bare)


def _number(stage: Stage, flow: Flow, before: str) -> dict[str, Any]:
    """The number that is declared last behind a stage."""
    says = stage.boundary.fields or stage.boundary.contract is not None
    does = stage.run is not None or stage.experiment is not None
    declared: Mapping[str, Any] = {}
    if stage.boundary.fields:
        declared = stage.boundary.fields
    elif (says or does) and not isinstance(stage.run, Observing):
        declared = {name: kind.type for name, kind in (flow.fields or {}).items()}
    if numbers := [name for name, kind in declared.items() if _is_number(kind)]:
        return {"number": numbers[-1], "is_bare": False}
    kept = before if before in (flow.fields or {}) else ""
    return {"number": kept, "is_bare": flow.fields is None and _is_number(flow.type)}


def _is_number(kind: Any) -> bool:
    return kind not in (Any, object, bool) and accepts(float, kind) and not accepts(str, kind)
