"""Names: which ones a sweep may have."""

import random

import pytest

from metta.sweep.contracts.names import generated_name, name_problem


@pytest.mark.parametrize("name", ["digits", "7", "A.b_c-d", "x" * 100])
def test_plain_names_are_fine(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "a b", ".hidden", "-x", "a/b", "x" * 101, "é", "a\n", "a:b", 5, None])
def test_others_are_refused_with_the_rule(name: object) -> None:
    problem = name_problem(name)
    assert problem == (
        f"name {name!r} has to be letters, digits, '.', '_' and '-', at most 100, a letter or digit first"
    )


def test_generated_names_are_fine_and_do_not_follow_the_seed_of_a_script() -> None:
    names = set()
    for _ in range(20):
        random.seed(0)
        names.add(generated_name())
    assert len(names) > 10
    assert [problem for name in names if (problem := name_problem(name))] == []
