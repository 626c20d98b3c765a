"""Merging: fields that are merged by all fields, and classes that stay what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from metta.sweep.experiments.base import Merge, Pipeline, Record


def of_the_best(name: str) -> Merge:
    def field_of(before: Mapping[str, Any], behind: Sequence[Mapping[str, Any]]) -> Any:
        return max([before, *behind], key=lambda fields: fields.get("score", 0))[name]

    return Merge(field_of, whole=True)


class Found(NamedTuple):
    name: Annotated[str, of_the_best("name")]
    score: Annotated[float, of_the_best("score")]


def low() -> Found:
    return Found("low", 1.0)


def high() -> Found:
    return Found("high", 2.0)


def test_a_field_may_be_merged_by_the_others() -> None:
    assert Pipeline().parallel([low, high]).run_local() == Found("high", 2.0)
    assert Pipeline().parallel([high, low]).run_local() == Found("high", 2.0)


def test_what_was_there_before_counts_too() -> None:
    first = Pipeline().stage("first", lambda: Found("first", 3.0)).through(Found)
    assert first.parallel([low, high]).run_local() == Found("first", 3.0)


def test_a_class_that_says_how_it_merges_stays_what_it_is_in_branches_of_branches() -> None:
    inner = Pipeline().parallel([low, high])
    assert Pipeline().parallel([low, inner]).run_local() == Found("high", 2.0)


def test_fields_that_flowed_in_are_kept() -> None:
    pipeline: Any = Pipeline().parallel([low, high])
    assert pipeline.run_local({"more": 1}) == Record(more=1, name="high", score=2.0)


@dataclass
class Plain:
    x: int


def test_a_class_that_says_nothing_becomes_a_record() -> None:
    assert Pipeline().parallel([lambda: Plain(1)]).run_local() == Record(x=1)
