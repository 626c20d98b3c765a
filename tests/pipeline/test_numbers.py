"""The metrics in what an experiment gave, as its stages pack it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import BaseModel

from metta.sweep.contracts.errors import BadMetric
from metta.sweep.contracts.values import INLINE_BYTES, Value
from metta.sweep.pipeline.numbers import WAY_OUT, metrics_of
from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.records import Record
from metta.sweep.stores.data import DataStore


class Named(NamedTuple):
    loss: float
    model: str = "a model"


@dataclass
class Data:
    loss: float
    weights: object = None


class Model(BaseModel):
    loss: float
    notes: list[str] = []


class Own:
    def __pack__(self) -> str:
        return "it"


def metrics(value: object, metric: str | None = None, folder: Path = Path("/nowhere")) -> Any:
    packer = Packer(DataStore(folder), pickle=False)
    # who reads it knows none of its classes
    return metrics_of(Value(packed=packer.pack(value)), metric, packer)


@pytest.mark.parametrize(
    "value",
    [
        {"loss": 0.5},
        {"loss": np.float64(0.5)},
        {"loss": np.float32(0.5), "path": Path("model")},
        Named(0.5),
        Data(0.5, weights=np.zeros(3)),
        Model(loss=0.5),
        Record(loss=0.5, seen=True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_that_have_names_are_metrics_and_what_stands_beside_them_is_not(value: object) -> None:
    assert metrics(value) == metrics(value, "loss") == {"loss": 0.5}


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3)])
def test_a_number_alone_has_no_name(value: object) -> None:
    assert metrics(value) == {"value": 3.0}


def test_names_may_be_no_text() -> None:
    assert metrics({1: 0.5, (2, 3): 1}) == {"1": 0.5, "{'$tuple': [2, 3]}": 1.0}


def test_nothing_is_no_result() -> None:
    assert metrics(None) is None


def test_a_large_result_is_read_from_the_store(tmp_path: Path) -> None:
    packer = Packer(DataStore(tmp_path), pickle=False)
    value = packer.kept(Data(0.5, weights="w" * INLINE_BYTES), INLINE_BYTES)
    assert value.kept
    assert metrics_of(value, "loss", packer) == {"loss": 0.5}


@pytest.mark.parametrize(
    ("value", "metric", "message"),
    [
        ("good", None, f"its result is 'good', which is no number; {WAY_OUT}"),
        (True, None, f"its result is True, which is no number; {WAY_OUT}"),
        ([1.0], None, f"its result is [1.0], which is no number; {WAY_OUT}"),
        ((1.0,), None, f"its result is a tuple, which is no number; {WAY_OUT}"),
        (Path("model"), None, f"its result is a path, which is no number; {WAY_OUT}"),
        (float("nan"), None, "the result is nan; a metric has to be finite"),
        (10**400, None, f"the result is {str(10**400)[:77]}...; a metric has to be finite"),
        ({"loss": float("nan"), "rate": 1}, None, "metric 'loss' is nan; a metric has to be finite"),
        (Named(float("inf")), None, "metric 'loss' is inf; a metric has to be finite"),
        ({"loss": "low", "rate": 1}, "loss", f"metric 'loss' is 'low', which is no number; {WAY_OUT}"),
        ({"loss": None}, "loss", f"metric 'loss' is None, which is no number; {WAY_OUT}"),
        ({"loss": True}, "loss", f"metric 'loss' is True, which is no number; {WAY_OUT}"),
        ({"a": "x", "b": []}, None, f"there is no number in its result: it has a, b; {WAY_OUT}"),
        ({}, None, f"there is no number in its result; {WAY_OUT}"),
    ],
)
def test_what_has_no_finite_number_is_refused(value: object, metric: str | None, message: str) -> None:
    with pytest.raises(BadMetric) as caught:
        metrics(value, metric)
    assert str(caught.value) == message


def test_an_object_that_packs_itself_is_told_by_its_class(tmp_path: Path) -> None:
    with pytest.raises(BadMetric, match=r"its result is .*:Own, which is no number"):
        metrics(Own(), folder=tmp_path)


def test_a_metric_that_is_missing_is_for_the_search_to_judge() -> None:
    assert metrics({"rate": 1}, "loss") == {"rate": 1.0}


@pytest.mark.parametrize("place", ["text", "file", "beside", "second"])
@pytest.mark.parametrize("tag", ["$float", "$int", "$scalar"])
def test_what_lies_within_a_number_imports_nothing(tmp_path: Path, tag: str, place: str) -> None:
    script, mark = tmp_path / "evil.py", tmp_path / "imported"
    script.write_text(f"open({str(mark)!r}, 'w').close()\nclass X: pass\n", "utf-8")
    named: Any = {"$dataclass": [f"{script}:X", {}]}
    number: Any = {
        "text": {tag: named},
        "file": {tag: [named]},
        "beside": {tag: ["AAAA", named]},
        "second": {tag: ["AAAA"] if tag == "$scalar" else "1", "$more": named},
    }[place]
    packer = Packer(DataStore(tmp_path), pickle=False)
    results: list[Any] = [{"loss": number}, {"$dict": [[number, 0]]}, number]
    for packed in results:
        with suppress(BadMetric):
            metrics_of(Value(packed=packed), None, packer)
        assert not mark.exists()
    with pytest.raises(BadMetric, match=r"metric 'loss' is .*, which is no number"):
        metrics_of(Value(packed={"loss": number}), "loss", packer)
