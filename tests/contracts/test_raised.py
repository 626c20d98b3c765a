import pytest

from metta.sweep.contracts.errors import (
    DefinitionChanged,
    DefinitionError,
    NameInUse,
    PipelineDefinitionError,
    SpaceError,
    StageFailed,
    SweepError,
    SweepFailed,
)
from metta.sweep.contracts.plans import StageFailure
from metta.sweep.contracts.raised import details_of, error_of

FAILURE = StageFailure(stage="train", kind="user", message="ValueError: no", attempts=2)


def definitions() -> list[type]:
    kinds = [DefinitionError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return [kind for kind in kinds if kind.__module__ == DefinitionError.__module__]


@pytest.mark.parametrize(
    "error",
    [
        DefinitionError(["one", "two"], "it"),
        SpaceError(["x is no number"]),
        NameInUse("digits", "experiment", by="a sweep"),
        DefinitionChanged("digits", ["x was 1, and is 2"]),
        PipelineDefinitionError(["a.py:1: no stage"]),
        StageFailed(FAILURE),
    ],
)
def test_an_error_comes_over_the_wire(error: SweepError) -> None:
    kind = type(error)
    found = error_of(kind.__name__, [detail.model_dump(mode="json") for detail in details_of(error)])
    assert type(found) is kind
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_every_error_of_definition_comes_over_the_wire() -> None:
    for kind in definitions():
        mistakes = details_of(DefinitionError(["one"], "it"))
        assert type(error_of(kind.__name__, mistakes)) is kind


def test_other_errors_are_told_by_their_message_alone() -> None:
    assert details_of(SweepFailed("no trial succeeded")) == []
    assert error_of("SweepFailed", []) is None
    assert error_of("ValueError", ["anything"]) is None
    assert error_of("DefinitionError", []) is None  # of an older worker
