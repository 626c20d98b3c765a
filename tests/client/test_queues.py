"""What goes to a shared queue takes nothing with it but names of modules."""

import pytest

from metta.sweep.client.queues import check_named
from metta.sweep.contracts.components import ComponentSpec
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.references import Reference

LISTED = ComponentSpec(type="my_lab:Both", options={"of": [{"type": "random"}, {"type": "/x/mine.py:Mine"}]})


def refused(code: list[str], *parts: object) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        check_named("gpus", code, parts, "the sweep digits")
    return [problem.split(", which")[0] for problem in caught.value.problems]


def test_names_of_modules_pass() -> None:
    optimizer = ComponentSpec(type="optuna", options={"sampler": "my_lab.samplers:make"})
    check_named("gpus", ["my_lab.training:train"], [ComponentSpec(type="random"), optimizer], "the sweep")
    check_named("gpus", [], [{"file": "notes.py", "rows": [1, None, {"type": 3}]}], "the experiment")


def test_all_that_lies_elsewhere_is_told_at_once() -> None:
    sent = str(Reference("value", "", "train"))
    sampler = ComponentSpec(type="optuna", options={"sampler": {"pickle": "gASV"}})
    made = ComponentSpec(type="optuna", options={"sampler": "/x/mine.py:make"})
    assert refused(["/x/mine.py:train", sent], LISTED, sampler, made) == [
        "train is defined in the script mine.py",
        "train is defined in a notebook, a function or this program",
        "Mine is defined in the script mine.py",
        "an object is defined in a notebook, a function or this program",
        "make is defined in the script mine.py",
    ]


def test_the_way_out_is_told() -> None:
    with pytest.raises(DefinitionError) as caught:
        check_named("gpus", ["mine.py:train"], [], "the sweep digits")
    assert str(caught.value) == (
        "the sweep digits: train is defined in the script mine.py, which the workers of the queue gpus do not"
        " have: put it into a module that they register (`sweep worker my_lab --queue gpus`) and import it"
        " from there, or leave the queue out"
    )


def test_plain_data_is_no_code() -> None:
    texts = ["see notes.py: fix", "a.py:b c", "https://x/y.py:80", "notes.py:", ".py"]
    fields = [*texts, {"type": "see notes.py: fix"}, {"pickle": "dill"}, {"by": {"pickle": "dill"}}]
    check_named("gpus", [], [*fields, {"type": "x", "pickle": "dill"}], "the experiment")


def test_pickles_within_components_of_fields_are_code() -> None:
    search = {"type": "optuna", "options": {"sampler": {"pickle": "gASV"}}}
    assert refused([], [{"searches": [search]}]) == [
        "an object is defined in a notebook, a function or this program"
    ]


def test_where_a_queue_is_the_default_it_is_told_how_to_have_none() -> None:
    with pytest.raises(DefinitionError) as caught:
        check_named("gpus", ["mine.py:train"], [], "the sweep digits", is_default=True)
    assert str(caught.value).endswith(
        'and import it from there, or start a worker of its own with `--queue ""`, or queue=""'
    )
