"""Caches, checkpoints and archives of all kinds of values, and what a cache goes by."""

import json
import weakref
from collections.abc import Callable
from datetime import datetime
from functools import partial, wraps
from operator import itemgetter, mul
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import BaseModel

from metta.sweep.contracts.errors import StageFailed, StoreError
from metta.sweep.contracts.plans import At
from metta.sweep.contracts.shelves import Folder
from metta.sweep.experiments.base import Pipeline, Record
from metta.sweep.pipeline.code import code_of
from metta.sweep.pipeline.keeping import packer_for
from metta.sweep.pipeline.local import run_local
from metta.sweep.pipeline.nodes import Stage
from metta.sweep.pipeline.packing import Hashes, Packer, canonical
from metta.sweep.pipeline.runner import StageRun
from metta.sweep.stores.data import DataStore
from tests.pipeline.packed import KIND_IDS, KINDS, told

HASHER = Packer(Hashes(), pickle=False)


class Both(NamedTuple):
    when: datetime
    data: Any


@pytest.fixture
def status(tmp_path: Path) -> Callable[..., str]:
    """How a stage ends that is cached, or has other hooks."""

    def status(run: Callable[..., Any], value: Any = None, /, contract: Any = None, **hooks: Any) -> str:
        pipeline = Pipeline().stage("s", run).through(contract, **{"cache": True, **hooks})
        return run_local(pipeline.definition, value, Folder(tmp_path)).outcomes["s"].status

    return status


@pytest.mark.parametrize("value", KINDS, ids=KIND_IDS)
def test_a_cached_output_comes_back_as_it_was(value: Any, tmp_path: Path) -> None:
    pipeline = Pipeline().stage("s", lambda: value).through(cache=True)
    runs = [run_local(pipeline.definition, None, Folder(tmp_path)) for _ in range(2)]
    assert [run.outcomes["s"].status for run in runs] == ["done", "cached"]
    assert told(runs[1].value) == told(value)


def test_a_large_array_lies_beside_what_is_archived(tmp_path: Path) -> None:
    Pipeline().stage("s", lambda: {"a": np.ones(1000), "n": 1}).through(archive="it.json").run_local(
        folder=tmp_path
    )
    stored = json.loads((tmp_path / "it.json").read_text("utf-8"))
    assert stored["n"] == 1
    assert np.array_equal(np.load(tmp_path / "data" / stored["a"]["$array"][0]["$blob"]), np.ones(1000))


def test_a_cache_goes_by_the_content_of_arrays_and_not_by_the_order_of_dicts(
    status: Callable[..., str],
) -> None:
    def run(data: Any) -> int:
        return 1

    assert status(run, {"a": 1, "b": {1: np.ones(1000), 2: {"x", "y"}}}) == "done"
    assert status(run, {"b": {2: {"y", "x"}, 1: np.ones(1000)}, "a": 1}) == "cached"
    assert status(run, {"b": {2: {"y", "x"}, 1: np.zeros(1000)}, "a": 1}) == "done"


def test_the_input_of_a_cached_stage_is_not_stored(status: Callable[..., str], tmp_path: Path) -> None:
    assert status(lambda data: 1, np.ones(5000)) == "done"
    assert not (tmp_path / "data").exists()


class Trainer:
    def __init__(self, rate: Any) -> None:
        self.rate = rate

    def train(self) -> int:
        return 1


class Fielded(Trainer):
    def __init__(self, rate: Any) -> None:
        super().__init__(rate)
        self.fields: dict[str, Any] = {}


class Declared(Trainer):
    """Like an experiment: only its fields count."""

    @property
    def fields(self) -> dict[str, Any]:
        return {"rate": self.rate[0]}


def train(rate: Any) -> int:
    return 1


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([Trainer(1).train, Trainer(1).train, Trainer(2).train], ["done", "cached", "done"]),
        ([Declared([1, len]).train, Declared([1, 3]).train, Declared([2]).train], ["done", "cached", "done"]),
        (
            [partial(train, rate=1), partial(train, rate=1), partial(train, rate=2)],
            ["done", "cached", "done"],
        ),
        ([partial(train, 1), partial(train, 1), partial(train, 2)], ["done", "cached", "done"]),
        ([Fielded(1).train, Fielded(1).train, Fielded(2).train], ["done", "cached", "done"]),
        ([partial(Trainer(1).train), partial(Trainer(2).train)], ["done", "done"]),
    ],
)
def test_a_cache_goes_by_what_the_code_holds(
    stages: list[Callable[..., Any]], expected: list[str], status: Callable[..., str]
) -> None:
    assert [status(stage) for stage in stages] == expected


def times(n: Any) -> Callable[..., Any]:
    return lambda x: x * n


def by_default(n: Any) -> Callable[..., Any]:
    def run(x: Any, n: Any = n) -> Any:
        return x * n

    return run


def by_keyword(n: Any) -> Callable[..., Any]:
    def run(x: Any, *, n: Any = n) -> Any:
        return x * n

    return run


def decorated(n: Any) -> Callable[..., Any]:
    inner = times(n)
    return wraps(inner)(lambda x: inner(x))


def of_local_class(n: Any) -> Callable[..., Any]:
    class Times:
        def __call__(self, x: Any) -> Any:
            return x * n

    return Times()


def recursive(n: Any) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        return run(x - 1) if x > n else x

    return run


class Times:
    def __init__(self, n: Any) -> None:
        self.n = n
        self.own = self.times

    def times(self, x: Any) -> Any:
        return x * self.n

    def __call__(self, x: Any) -> Any:
        return self.own(x)


@pytest.mark.parametrize(
    "make",
    [
        times,
        by_default,
        by_keyword,
        decorated,
        of_local_class,
        recursive,
        Times,
        partial(partial, mul),
        lambda n: itemgetter(n),
        lambda n: times(times(n)),
        lambda n: times([np.full(2000, n), np]),
    ],
)
def test_what_code_holds_is_told_apart_in_a_cache(make: Callable[[int], Callable[..., Any]]) -> None:
    keys = [canonical(HASHER.pack(code_of(make(n)))) for n in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_code_that_cannot_be_looked_into_is_not_cached(status: Callable[..., str]) -> None:
    with pytest.raises(StageFailed, match="give cache_key: TypeError: cannot pickle"):
        status(weakref.ref(Trainer))


def test_a_closure_is_cached_by_its_variables(status: Callable[..., str]) -> None:
    assert [status(times(n), 1) for n in (1, 1, 2)] == ["done", "cached", "done"]


def test_lambdas_on_one_line_are_told_apart_in_a_cache(status: Callable[..., str]) -> None:
    one, two, real, imag = lambda x: x + 1, lambda x: x + 2, lambda x: x.real, lambda x: x.imag
    assert [status(stage, 1) for stage in (one, two, real, imag, one)] == ["done"] * 4 + ["cached"]


@pytest.mark.parametrize("stage", [Trainer(object()).train, times(object()), Times(object())])
def test_code_that_holds_what_cannot_be_told_apart_is_not_cached(
    stage: Callable[..., Any], status: Callable[..., str]
) -> None:
    with pytest.raises(StageFailed, match=r"give cache_key: .* cannot be sent or stored: object has no form"):
        status(stage, 1)


def test_a_contract_that_has_changed_since_is_no_obstacle(
    status: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Score(BaseModel):
        value: int

    class Changed(BaseModel):
        value: str

    Changed.__qualname__ = Score.__qualname__
    hooks = {"cache_key": lambda data: 1}
    assert status(lambda: {"value": 1}, contract=Score, **hooks) == "done"
    assert status(lambda: {"value": 1}, contract=Score, **hooks) == "cached"
    assert status(lambda: {"value": "a"}, contract=Changed, **hooks) == "done"


class Count(NamedTuple):
    n: int


def test_what_serialize_gives_is_cached_by_itself_and_read_by_the_contract(
    status: Callable[..., str],
) -> None:
    def give() -> Count:
        return Count(1)

    serialized = {"serialize": lambda count: {"n": count.n}}
    statuses = [status(give, contract=Count, **hooks) for hooks in (serialized, {}) for _ in range(2)]
    assert statuses == ["done", "cached", "done", "cached"]


def test_a_damaged_part_of_a_cached_output_is_no_obstacle(status: Callable[..., str], tmp_path: Path) -> None:
    assert status(lambda: np.ones(1000)) == "done"
    for path in tmp_path.rglob("data/*"):
        path.unlink()
    assert status(lambda: np.ones(1000)) == "done"


# --- outputs that travel to another process ---


class Network:
    """A class that cannot be packed."""

    def __init__(self, weights: list[float]) -> None:
        self.weights = weights

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda v: v if isinstance(v, cls) else cls(v["weights"])
        )


async def sent_and_read(pipeline: Pipeline[Any], value: Any, root: Path) -> Any:
    definition = pipeline.definition
    packer = packer_for(definition, DataStore(root), pickle=False)
    stage = definition.nodes["s"]
    assert isinstance(stage, Stage)
    run = StageRun(stage, At("s"), value, Folder(root), packer, debugging=False)
    return packer.unkept(await run.sent(await run.value(), 4096))


def weights_of(network: Network) -> dict[str, Any]:
    return {"weights": network.weights}


async def test_an_output_travels_as_what_serialize_gives(tmp_path: Path) -> None:
    def give() -> Network:
        return Network([1.5])

    pipeline = Pipeline().stage("s", give).through(Network, serialize=weights_of)
    assert (await sent_and_read(pipeline, None, tmp_path)).weights == [1.5]
    unread = (
        Pipeline()
        .stage("s", lambda: Both(datetime(2020, 1, 1), 1))
        .through(Both, serialize=lambda both: "text")
    )
    assert await sent_and_read(unread, None, tmp_path) == Both(datetime(2020, 1, 1), 1)


async def test_fields_that_travel_as_what_serialize_gives_are_read_by_their_types(tmp_path: Path) -> None:
    def serialize(record: Record) -> dict[str, Any]:
        return {"when": record.when.isoformat(), "network": weights_of(record.network)}

    pipeline = (
        Pipeline()
        .through(when=datetime)
        .stage("s", lambda: Network([2.5]))
        .through(network=Network, serialize=serialize)
    )
    back = await sent_and_read(pipeline, Record(when=datetime(2020, 1, 1)), tmp_path)
    assert (back.when, back.network.weights) == (datetime(2020, 1, 1), [2.5])


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ({}, r"its output: .* cannot be sent or stored: Network has no form of its own; give serialize="),
        ({"serialize": lambda network: {1j}}, "serialize returned it, and JSON cannot hold it"),
        ({"serialize": lambda network: 1 / 0}, "serialize: ZeroDivisionError"),
    ],
)
async def test_an_output_that_cannot_travel_fails_its_stage(
    hooks: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pipeline = Pipeline().stage("s", lambda: Network([])).through(Network, **hooks)
    with pytest.raises(StageFailed, match=message):
        await sent_and_read(pipeline, None, tmp_path)


async def test_a_store_that_cannot_be_written_to_is_no_fault_of_the_stage(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match="data cannot be written"):
        await sent_and_read(Pipeline().stage("s", lambda: np.ones(1000)), None, tmp_path)
