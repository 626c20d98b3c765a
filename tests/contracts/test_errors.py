"""Errors: one tree, messages worth reading, and safe travel between processes."""

import pickle
import re
from pathlib import Path

import pytest

from metta.sweep.contracts import errors
from metta.sweep.contracts.errors import (
    BadMetric,
    DefinitionChanged,
    DefinitionError,
    LedgerCorrupt,
    NameInUse,
    SpaceError,
    SweepError,
    SweepNotFound,
    nearest,
    shown,
)


def test_the_tree_on_top_of_the_module_is_that_of_the_classes() -> None:
    branch = re.compile(r"^ {4}((?:│   |    )*)(?:├── |└── )(\w+)", re.MULTILINE)
    stack, drawn = ["SweepError"], {}
    for indent, name in branch.findall(errors.__doc__ or ""):
        del stack[1 + len(indent) // 4 :]
        drawn[name] = stack[-1]
        stack.append(name)
    classes = {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, SweepError)
    }
    assert drawn == {name: cls.__mro__[1].__name__ for name, cls in classes.items() if cls is not SweepError}


def test_each_error_is_told_in_the_docstring() -> None:
    raised = [
        name for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, BaseException)
    ]
    assert [name for name in raised if not re.search(rf"\b{name}  ", f"{errors.__doc__}  ")] == ["SweepError"]


MESSAGES = {
    DefinitionError(["a is wrong"]): "the sweep: a is wrong",
    DefinitionError(["a is wrong", "b too"], "it"): "2 mistakes in it:\n- a is wrong\n- b too",
    SpaceError(["lr is missing"]): "the search space: lr is missing",
    NameInUse("digits"): (
        "the sweep's name: the name 'digits' is in use; continue that sweep with resume=True (`--resume`),"
        " or choose another name"
    ),
    DefinitionChanged("digits", ["seed was 1 and is now 2"]): (
        "2 mistakes in the sweep digits:\n- seed was 1 and is now 2\n- another definition needs another name"
    ),
    SweepNotFound("digts", ["digits", "wine"]): "there is no sweep 'digts' here; did you mean digits?",
    SweepNotFound("x", ["wine", "digits"]): "there is no sweep 'x' here. Known: digits, wine",
    SweepNotFound("x"): "there is no sweep 'x' here",
    LedgerCorrupt(Path("/s/ledger.jsonl"), 3, 120, "its checksum does not match"): (
        "/s/ledger.jsonl, line 3 (byte 120) is damaged: its checksum does not match. Nothing was changed."
        " Restore the file from a backup, or keep what stands before it:"
        " `head -c 120 ledger.jsonl > repaired.jsonl`"
    ),
    BadMetric("metric 'loss' is nan"): "metric 'loss' is nan",
}


@pytest.mark.parametrize("error", MESSAGES, ids=lambda error: type(error).__name__)
def test_a_message_says_what_broke_and_what_to_do(error: SweepError) -> None:
    assert str(error) == MESSAGES[error]


@pytest.mark.parametrize("error", MESSAGES, ids=lambda error: type(error).__name__)
def test_an_error_says_the_same_on_the_other_side_of_a_pipe(error: SweepError) -> None:
    travelled = pickle.loads(pickle.dumps(error))
    assert type(travelled) is type(error)
    assert str(travelled) == str(error)
    assert vars(travelled) == vars(error)


def test_the_nearest_name_is_suggested_else_all_are_listed() -> None:
    assert nearest("trails", ["hours", "trials"]) == "; did you mean trials?"
    assert nearest("zzz", ["trials", "hours"]) == ". Known: hours, trials"


def test_known_names_are_told_as_far_as_they_can_be_read_those_that_are_nested_last() -> None:
    ten = [f"b{n}" for n in range(10)]
    assert nearest("zzz", ["a/nested", *ten]) == f". Known: {', '.join(ten)} and 1 more"
    assert nearest("zzz", ten) == f". Known: {', '.join(ten)}"
    assert nearest("zzz", []) == ""


def test_long_values_are_cut_in_messages() -> None:
    assert shown("x" * 78) == repr("x" * 78)
    assert len(shown("x" * 79)) == 80
    assert shown(list(range(1000))).endswith("...")
