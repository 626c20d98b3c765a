"""Merging: what becomes of the results of parallel branches."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from metta.sweep.pipeline.annotations import FieldType, fields_of_class, hints_of
from metta.sweep.pipeline.conversion import Mismatch
from metta.sweep.pipeline.flows import UNKNOWN, Flow
from metta.sweep.pipeline.packing import Hashes, Packer, Unpackable, canonical
from metta.sweep.pipeline.records import Record, fields_of, merged, replaced


@dataclass(frozen=True)
class Merge:
    """Says how a field of a contract merges after parallel branches: ``Annotated[list[int], Merge(joined)]``.

    Args:
        function: Gets the field's value before the branches, and the list of its values behind them.
        whole: Whether it gets all fields instead, before the branches and behind each of them, by name.
    """

    function: Callable[[Any, Sequence[Any]], Any]
    whole: bool = False


def rules_of(kind: Any) -> dict[str, Merge]:
    """How the fields of a class merge, where it says so."""
    if fields_of_class(kind) is None:
        return {}
    hints = hints_of(kind)
    return {
        name: rule for name, hint in hints.items() for rule in get_args(hint)[1:] if isinstance(rule, Merge)
    }


def merge_problems(results: Mapping[str, Flow], own: Mapping[str, frozenset[str] | None]) -> list[str]:
    """Why the results of branches cannot be merged, one sentence each.

    Args:
        results: What flows out of each branch, by label.
        own: Fields that each branch gives of its own, where only some of all are.
    """
    known = {label: result for label, result in results.items() if not result.is_unknown}
    problems = [
        f"branch {label} gives {result}, which has no fields to merge; name branches in a dict"
        for label, result in known.items()
        if result.fields is None
    ]
    givers: dict[str, list[str]] = {}
    ruled = {name for result in known.values() for name in rules_of(result.type)}
    for label, result in known.items():
        declared = own[label]
        for name in (result.fields or {}) if declared is None else declared:
            givers.setdefault(name, []).append(label)
    return problems + [
        f"branches {' and '.join(labels)} give the field {name} both; say how it merges with"
        f" Annotated[..., Merge(...)], or name branches in a dict"
        for name, labels in givers.items()
        if len(labels) > 1 and name not in ruled
    ]


def merged_flow(flow: Flow, results: Mapping[str, Flow]) -> Flow:
    """What flows on after parallel branches without names."""
    if any(result.fields is None for result in results.values()):
        return UNKNOWN
    kinds = {result.type for result in results.values()}
    if kinds == {flow.type} and flow.type is not Record:
        return flow
    fields: dict[str, FieldType] = dict(flow.fields or {})
    for result in results.values():
        fields |= result.fields or {}
    return Flow.record(fields)


def merge(before: Any, results: Mapping[str, Any], *, by_name: bool) -> Any:
    """What flows on after parallel branches.

    Args:
        before: What flowed into each of them.
        results: What they gave, by label.
        by_name: Whether each result becomes a field named by its label.

    Raises:
        Mismatch: When two branches give different values to one field.
    """
    if by_name:
        return merged(before, results)
    given = {label: fields_of(result) for label, result in results.items()}
    if bare := [f"branch {label} gave a value without fields" for label, of in given.items() if of is None]:
        raise Mismatch(bare, "a record")
    rules = {name: rule for result in results.values() for name, rule in rules_of(type(result)).items()}
    fields = _merged_fields(
        fields_of(before) or {}, {n: of for n, of in given.items() if of is not None}, rules
    )
    first, *others = results.values()
    if all(type(result) is type(first) for result in others):
        if type(before) is type(first):
            return replaced(before, fields)
        if rules and fields_of(before) is None:  # a class that says how it merges stays what it is
            return replaced(first, fields)
    return merged(before, fields)


def _merged_fields(
    earlier: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], rules: Mapping[str, Merge]
) -> dict[str, Any]:
    fields, problems = {}, []
    for name in dict.fromkeys(name for of in given.values() for name in of):
        values = {label: of[name] for label, of in given.items() if name in of}
        news = {n: v for n, v in values.items() if name not in earlier or not _equal(v, earlier[name])}
        if name in rules:
            rule, behind = rules[name], [given[label] for label in values]
            whole, alone = (earlier, behind), (earlier.get(name), [*values.values()])
            fields[name] = rule.function(*(whole if rule.whole else alone))
        elif len(news) > 1:
            problems.append(f"branches {' and '.join(news)} gave the field {name} both")
        elif news:
            fields[name] = next(iter(news.values()))
    if problems:
        raise Mismatch(problems, "one record")
    return fields


def _equal(one: Any, other: Any) -> bool:
    """By ``==``, else by content: branches get copies, and not everything equals its copy."""
    try:
        if one is other or one == other:
            return True
    except Exception:  # arrays have no truth
        pass
    return type(one) is type(other) and _content(one) == _content(other)


def _content(value: Any) -> object:
    """What a value consists of: in canonical form, else as a pickle, which is written and never read."""
    try:
        return canonical(Packer(Hashes(), pickle=False).pack(value))
    except Unpackable:
        pass
    try:
        return pickle.dumps(value)
    except Exception:  # pickling runs the user's code
        return object()  # it equals nothing
