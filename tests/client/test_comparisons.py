"""Two experiments beside each other, from their outcome logs alone."""

from pathlib import Path
from typing import Any

import pytest

from metta.sweep.client.comparisons import ExperimentComparison, StageComparison, compared
from metta.sweep.contracts.errors import DefinitionError, SweepNotFound
from metta.sweep.contracts.outcomes import AttemptFailed, Began, Entry, Finished, Line, StageEnded
from metta.sweep.contracts.plans import At, Outcome, StageFailure
from metta.sweep.contracts.values import Value
from metta.sweep.stores.files import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def write(store: FileStore, name: str, *entries: Entry) -> None:
    log = store.outcome_log(name)
    for n, entry in enumerate(entries):
        log.commit(Line(n=n, writer="w", entries=(entry,)))
    log.close()


def began(**changes: object) -> Began:
    given = {"recorded": 1.0, "run": "r", "experiment": "m:f", "fingerprint": "f", "structure": ("load",)}
    return Began.model_validate({**given, **changes})


def ended(path: str, packed: object = 1, code: str = "c", input: str = "i", **more: object) -> StageEnded:
    outcome = Outcome.model_validate({"stage": path, "attempts": 1, "metrics": more.pop("metrics", {})})
    value = Value.model_validate({"packed": packed, **more})
    told = {"outcome": outcome, "value": value, "code": code, "input": input}
    return StageEnded.model_validate({"recorded": 2.0, "at": At(path), "seconds": 1.5, **told})


def failed(path: str, **hashes: str) -> AttemptFailed:
    failure = StageFailure(stage=path, kind="user", message="ValueError: no luck", attempts=2)
    return AttemptFailed.model_validate({"recorded": 3.0, "at": At(path), "failure": failure, **hashes})


def of(store: FileStore, *entries: Entry) -> ExperimentComparison:
    """Compare `one`, which is there, with another one."""
    write(store, "other", *entries)
    comparison = compared(store, "one", "other")
    assert isinstance(comparison, ExperimentComparison)
    return comparison


def stage(comparison: ExperimentComparison, name: str) -> StageComparison:
    [found] = [stage for stage in comparison.stages if stage.stage == name]
    return found


END = Finished(recorded=9.0, reason="completed", value=Value(packed=7))


def test_equal_ones_differ_in_nothing_but_their_names(store: FileStore) -> None:
    entries = (began(), ended("load"), ended("tell"), END)
    write(store, "one", *entries)
    comparison = of(store, *entries)
    assert all(stage.is_same for stage in comparison.stages)
    assert [stage.stage for stage in comparison.stages] == ["load", "tell"]
    assert (comparison.structure, comparison.fields, comparison.final_fields) == ((), {}, {})
    assert (comparison.input, comparison.result) == ("same", "same")
    one, other = comparison.sides
    assert one.model_copy(update={"name": "other"}) == other
    assert (one.reason, one.seconds, one.ended, one.seed) == ("completed", 8.0, 2, None)


@pytest.mark.parametrize(
    ("changes", "name", "sameness"),
    [
        ({"packed": 1.0}, "data", "other"),
        ({"packed": True}, "data", "other"),
        ({"packed": None, "kept": "hash.json"}, "data", "other"),
        ({"code": "d"}, "code", "other"),
        ({"code": ""}, "code", "unknown"),
        ({"input": "j"}, "input", "other"),
        ({"fields": {"packed": {"total": 3}}}, "fields", "other"),
    ],
)
def test_what_a_stage_gave_and_its_code_are_compared(
    store: FileStore, changes: dict[str, Any], name: str, sameness: str
) -> None:
    write(store, "one", began(), ended("load"))
    found = stage(of(store, began(), ended("load", **changes)), "load")
    others = {"data": "same", "code": "same", "fields": "same", "input": "same", name: sameness}
    assert {key: getattr(found, key) for key in others} == others
    assert not found.is_same


def test_what_ran_in_one_alone_or_failed_there_is_told(store: FileStore) -> None:
    write(store, "one", began(), ended("load", metrics={"loss": 0.5}), failed("train"))
    comparison = of(store, began(), ended("load", metrics={"loss": 0.25}), ended("train"), ended("tell"), END)
    assert [found.stage for found in comparison.stages] == ["load", "train", "tell"]
    one, other = stage(comparison, "load").sides
    assert one is not None
    assert other is not None
    assert (one.metrics, other.metrics) == ({"loss": 0.5}, {"loss": 0.25})
    one, other = stage(comparison, "train").sides
    assert one is not None
    assert other is not None
    assert (one.status, one.attempts, other.status) == ("failed", 2, "done")
    assert stage(comparison, "tell").sides[0] is None
    assert (stage(comparison, "tell").data, comparison.result) == ("unknown", "unknown")
    assert comparison.sides[0].reason == ""


@pytest.mark.parametrize(
    ("hashes", "code", "input"),
    [
        ({"code": "c", "input": "i"}, "same", "same"),
        ({"code": "d", "input": "j"}, "other", "other"),
        ({}, "unknown", "unknown"),  # as older logs have it
    ],
)
def test_code_and_input_of_a_stage_that_failed_are_compared(
    store: FileStore, hashes: dict[str, str], code: str, input: str
) -> None:
    write(store, "one", began(), failed("train", **hashes))
    found = stage(of(store, began(), ended("train"), END), "train")
    assert (found.code, found.input, found.data, found.fields) == (code, input, "unknown", "unknown")
    assert not found.is_same


def test_an_input_that_an_older_log_does_not_tell_is_no_difference(store: FileStore) -> None:
    write(store, "one", began(), ended("load", input=""))
    found = stage(of(store, began(), ended("load")), "load")
    assert found.input == "unknown"
    assert found.is_same


def test_fields_as_they_were_given_and_as_they_are_at_the_end(store: FileStore) -> None:
    changed = {"packed": {"total": 3}}
    write(store, "one", began(fields={"turns": 1, "total": 0}), ended("load", fields=changed))
    name = store.data.put("json", lambda file: file.write(b'{"total": 4, "word": "x"}'))
    end = Finished(recorded=9.0, reason="completed", value=Value(fields=Value(kept=name)))
    comparison = of(store, began(fields={"turns": 2, "total": 0}), ended("load"), end)
    assert comparison.fields == {"turns": (1, 2)}
    assert comparison.final_fields == {"turns": (1, 2), "total": (3, 4), "word": (None, "x")}


def test_structure_input_and_seed(store: FileStore) -> None:
    write(store, "one", began(structure=("load", "train", "tell")))
    comparison = of(
        store,
        began(structure=("load", "learn", "tell"), fingerprint="g", input={"packed": 2}, seed=7),
    )
    assert comparison.structure == ("-train", "+learn")
    assert comparison.input == "other"
    assert [side.seed for side in comparison.sides] == [None, 7]


def test_what_was_forgotten_is_not_compared(store: FileStore) -> None:
    write(store, "one", began(), ended("load"), ended("train", 1), ended("tell"))
    comparison = of(
        store,
        began(),
        ended("load"),
        ended("train", 2),
        ended("tell"),
        END,
        began(run="r2", forgotten={"train": (), "tell": ()}),
        ended("train", 1),
    )
    assert stage(comparison, "train").data == "same"
    assert stage(comparison, "tell").sides[1] is None
    assert comparison.sides[1].reason == ""


def test_names_that_cannot_be_compared_are_told(store: FileStore) -> None:
    write(store, "one", began())
    with pytest.raises(SweepNotFound, match="there is no sweep or experiment 'onne' here; did you mean one"):
        compared(store, "one", "onne")
    with pytest.raises(DefinitionError, match="give two names, got one twice"):
        compared(store, "one", "one")
