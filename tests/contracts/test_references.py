"""References: how functions are named in plain JSON."""

import pytest

from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.references import Reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("tasks:train", Reference("module", "tasks", "train")),
        ("my.tasks:Model.train", Reference("module", "my.tasks", "Model.train")),
        ("tasks.py:train", Reference("script", "tasks.py", "train")),
        ("/a b/c:d/tasks.py:train", Reference("script", "/a b/c:d/tasks.py", "train")),
        ("tasks.py:Model.train", Reference("script", "tasks.py", "Model.train")),
        ("value:c0ffee:train", Reference("value", "c0ffee", "train")),
        ("value:c0ffee:f.<locals>.<lambda>", Reference("value", "c0ffee", "f.<locals>.<lambda>")),
        ("value::train", Reference("value", "", "train")),
        ("value:train", Reference("module", "value", "train")),
        ("value.py:train", Reference("script", "value.py", "train")),
    ],
)
def test_it_is_read_and_written_alike(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    ["", "train", "tasks.train", "tasks:", ":train", "a/b:train", "a.py:", "a.py:1", "a-b:train", "value::"],
)
def test_what_names_nothing_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(DefinitionError) as error:
        Reference.parse(text)
    assert error.value.problems == (
        f"{text!r} names nothing that can be imported; write 'package.module:name' or 'path/script.py:name'",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [("/old/tasks.py:train", "/new/tasks.py:train"), ("value:1:train", "value:2:train"), ("a.b:f", "a.b:f")],
)
def test_edited_and_moved_code_has_the_same_definition(before: str, after: str) -> None:
    assert Reference.parse(before).definition == Reference.parse(after).definition


def test_different_code_has_different_definitions() -> None:
    texts = ["a.b:f", "a.c:f", "a.b:g", "x/b.py:f", "x/c.py:f", "x/b.py:g", "value:1:h"]
    assert len({Reference.parse(text).definition for text in texts}) == len(texts)
