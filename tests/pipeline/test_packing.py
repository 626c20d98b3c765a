import json
import sys
import threading
from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from metta.sweep.contracts.errors import StoreError, SweepError
from metta.sweep.contracts.values import Value
from metta.sweep.pipeline.packing import DEEPEST, Packer, Serialized, Unpackable, canonical
from metta.sweep.pipeline.records import Record
from metta.sweep.pipeline.unpacking import Misread
from metta.sweep.stores.data import DataStore
from tests.pipeline import packed as kinds
from tests.pipeline.packed import (
    KIND_IDS,
    KINDS,
    Box,
    Colour,
    Frozen,
    Line,
    Other,
    Point,
    there_and_back,
    told,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("limit_bytes", [0, 1_000_000])
@pytest.mark.parametrize("value", KINDS, ids=KIND_IDS)
def test_a_value_comes_back_as_it_was(packer: Packer, value: Any, limit_bytes: int) -> None:
    assert told(there_and_back(packer, value, limit_bytes)) == told(value)


letters = st.text(st.characters() | st.characters(categories=["Cs"]))
_leaves = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.integers().map(lambda n: n**40), st.floats(), letters),
    *(st.binary(), st.complex_numbers(), st.decimals().filter(lambda number: not number.is_snan())),
    *(st.fractions(), st.uuids(), st.dates(), st.timedeltas(), st.times(), st.sampled_from([*Colour])),
    st.datetimes(timezones=st.none() | st.timezones()),
)
_hashable = st.recursive(
    _leaves, lambda inner: st.frozensets(inner, max_size=3) | st.builds(Point, inner, inner), max_leaves=5
)


@st.composite
def leaves(draw: st.DrawFn) -> Any:
    """A name for them: their own text has 40 kB."""
    return draw(_leaves)


@st.composite
def hashable(draw: st.DrawFn) -> Any:
    return draw(_hashable)


def _around(inner: Any) -> Any:
    names = st.sampled_from(["a", "b", "$a", "$tuple", "self_"])
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(letters | st.just("$list"), inner, max_size=4),
        st.dictionaries(hashable(), inner, max_size=3),
        st.sets(hashable(), max_size=3),
        st.dictionaries(names, inner, max_size=3).map(lambda fields: Record(**fields)),
        st.builds(Point, inner, inner),
        st.builds(Line, inner, st.lists(inner, max_size=2)),
        st.builds(Frozen, inner),
        st.builds(lambda content: Box[Any](content=content), inner),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=st.recursive(leaves(), _around, max_leaves=12), limit_bytes=st.sampled_from([0, 10**6]))
def test_values_at_random_come_back_as_they_were(packer: Packer, value: Any, limit_bytes: int) -> None:
    assert told(there_and_back(packer, value, limit_bytes)) == told(value)


def test_json_stands_for_itself(packer: Packer) -> None:
    value = {"b": [1, 2.5, None, "text"], "a": {"c": True}}
    assert packer.kept(value, 4096) == Value(packed=value)
    assert packer.pack((1, 2)) == {"$tuple": [1, 2]}
    assert packer.pack(Point(1, b"a")) == {
        "$named": ["tests.pipeline.packed:Point", {"x": 1, "y": {"$bytes": "YQ=="}}]
    }


def test_a_value_travels_while_it_is_small_and_flat(packer: Packer, store: DataStore) -> None:
    text = "ü" * 10
    assert packer.kept(text, 22).packed == text
    kept = packer.kept(text, 21)
    assert kept.packed is None
    assert kept.kept is not None
    assert json.loads(store.path(kept.kept).read_bytes()) == text


@pytest.mark.parametrize("around", [lambda x: (x,), Point, Line, lambda x: Box[Any](content=x)])
def test_a_value_that_is_deep_stays_in_the_store(packer: Packer, around: Callable[..., Any]) -> None:
    deep: Any = 0
    for _ in range(DEEPEST - 2):
        deep = around(deep)
    kept = packer.kept(deep, 10**9)
    assert kept.kept is not None
    assert repr(packer.unkept(kept)) == repr(deep)


# --- what cannot be packed ---


class Model(BaseModel):
    layers: list[Any]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            Record(model=Model(layers=[1, 2, Other()])),
            "model.layers[2] cannot be sent or stored: Other has no form",
        ),
        ({"a": {3: Other()}}, "['a'][0][1] cannot be"),
        (Other(), "<tests.pipeline.packed.Other object at "),
        ([np.array([object()])], "[0] cannot be sent or stored: ndarray has no form of its own"),
        ([pl.Series([object()])], "[0] cannot be sent or stored: ComputeError: "),
        (pd.DataFrame({"mixed": [1, "x"]}), "mixed"),
        ({"f": len}, "['f'] cannot be sent or stored: builtin_function_or_method has no form"),
        (type("Text", (str,), {})("a"), "'a' cannot be sent or stored: Text has no form"),
    ],
)
def test_what_cannot_be_packed_says_where_and_what_to_do(packer: Packer, value: Any, told: str) -> None:
    with pytest.raises(Unpackable) as error:
        packer.pack(value)
    assert told in str(error.value)
    assert str(error.value).endswith(
        "; give serialize=..., which returns bytes, text or JSON, or allow pickle: `pickle = true` under"
        " [tool.metta-sweep] in pyproject.toml"
    )


def _ring(make: Callable[[list[Any]], Any]) -> Any:
    items: list[Any] = []
    items.append(make(items))
    return items


@pytest.mark.parametrize("make", [lambda x: x, lambda x: {"a": x}, lambda x: (x,), Point, Line, Frozen])
@pytest.mark.parametrize("which", ["packer", "pickler"])
def test_what_holds_itself_is_refused(
    make: Callable[..., Any], which: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(Unpackable, match="it holds itself; give serialize="):
        request.getfixturevalue(which).pack({"ring": _ring(make)})


def test_what_is_shared_is_no_ring(packer: Packer) -> None:
    shared = [1]
    assert packer.unpack(packer.pack([shared, {"a": shared}])) == [[1], {"a": [1]}]


def test_what_is_nested_too_deeply_is_refused(packer: Packer) -> None:
    deep: Any = None
    for _ in range(5000):
        deep = Point(deep)
    with pytest.raises(Unpackable, match=f"more than {DEEPEST} values lie inside one another"):
        packer.pack(deep)


# --- pickle ---


def test_with_consent_anything_is_pickled_into_the_store(pickler: Packer, packer: Packer) -> None:
    packed = pickler.pack([Other(3), lambda x: x + 1, np.array([{1: 2}])])
    other, function, array = pickler.unpack(packed)
    assert (other.held, function(1), array[0]) == (3, 2, {1: 2})
    assert len(json.dumps(packed)) < 400
    with pytest.raises(
        Misread, match="is pickled, and reading that runs code; to allow it set `pickle = true`"
    ):
        packer.unpack(packed)


def test_what_cannot_even_be_pickled_says_where(pickler: Packer) -> None:
    with pytest.raises(
        Unpackable, match=r"lock cannot be .*: it cannot be pickled: TypeError: .*; give serialize="
    ):
        pickler.pack(Record(lock=threading.Lock()))


# --- what cannot be read ---

HERE = "tests.pipeline.packed"


@pytest.mark.parametrize(
    ("packed", "told"),
    [
        ({"$own": ["os:system", "true"]}, "os:system'? is no class"),
        ({"$own": ["subprocess:Popen", ["true"]]}, "subprocess:Popen is not a class of such values"),
        ({"$dataclass": ["subprocess:Popen", {}]}, "is not a class of such values"),
        ({"$dataclass": [f"{HERE}:Point", {"x": 1}]}, "is not a class of such values"),
        ({"$named": [f"{HERE}:Line", {}]}, "is not a class of such values"),
        ({"$named": ["builtins:tuple", {}]}, "is not a class of such values"),
        ({"$model": [f"{HERE}:Line", {}, {}]}, "is not a class of such values"),
        ({"$model": [["builtins:list", "os:system"], {}, {}]}, "is no class"),
        ({"$enum": ["builtins:dict", "a"]}, "is not a class of such values"),
        ({"$enum": [f"{HERE}:Colour", {"flag": 1}]}, "is not a class of such values"),
        ({"$enum": [f"{HERE}:Colour", "GREEN"]}, "GREEN"),
        ({"$named": ["no.such.module:Point", {}]}, "no.such.module:Point cannot be imported"),
        ({"$named": [f"{HERE}:Pint", {}]}, "did you mean Point"),
        ({"$named": ["/no/script.py:Point", {}]}, "there is no script"),
        ({"$named": ["nonsense", {}]}, "names nothing that can be imported"),
        ({"$named": [3, {}]}, "3 is no class"),
        ({"$named": []}, "not enough values"),
        ({"$new": 1}, r"\$new names no form that is known here"),
        ({"$bytes": "%"}, "cannot be read"),
        ({"$datetime": ["yesterday", None, 0]}, "yesterday"),
        ({"$array": ["AAAA"]}, "cannot be read"),
        ({"$array": [{"$blob": "../../etc/passwd"}]}, "names nothing in a data store"),
    ],
)
def test_what_was_tampered_with_is_refused(pickler: Packer, packed: Any, told: str) -> None:
    with pytest.raises(SweepError, match=told):
        pickler.unpack({"a": [packed]})


def test_json_that_is_torn_or_endless_is_refused(packer: Packer) -> None:
    for data in (b'{"a": ', b"\xff", b"[" * 100_000, b"[" * 900 + b"]" * 900):
        with pytest.raises(Misread, match="what was packed cannot be read"):
            packer.from_json(data)


def test_a_part_that_is_gone_is_named(packer: Packer, store: DataStore) -> None:
    packed: Any = packer.pack(np.arange(777))
    name = packed["$array"][0]["$blob"]
    store.path(name).unlink()
    with pytest.raises(StoreError, match=f"{name} is missing"):
        packer.unpack(packed)


def test_a_class_that_has_changed_is_told(packer: Packer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pair(NamedTuple):
        x: Any
        z: Any

    other = make_dataclass("Line", [("start", Any), ("more", list[Any])])
    for old, new, what in (
        (Point(1), Pair, "y, z"),
        (Line(1), other, "more"),
        (Model(layers=[]), create_model("Model", layers=list[Any], more=(int, 1)), "more"),
    ):
        packed = packer.pack(old)
        home = sys.modules[type(old).__module__]
        with monkeypatch.context() as patch:
            patch.setattr(home, type(old).__name__, new)
            with pytest.raises(Misread, match=f"{new.__name__} had other fields when .* was packed: {what}"):
                packer.unpack(packed)


# --- serialize ---


@pytest.mark.parametrize(
    ("form", "data"), [(b"\xff", b"\xff"), ("ü", "ü".encode()), ({"a": (1,)}, b'{"a": [1]}')]
)
def test_what_serialize_made_is_read_by_its_stage(store: DataStore, form: Any, data: bytes) -> None:
    packer = Packer(store, pickle=False, restore=lambda stage, data: (stage, data))
    assert there_and_back(packer, Serialized("a/b", form)) == ("a/b", data)


def test_what_serialize_may_not_return_is_refused(packer: Packer) -> None:
    with pytest.raises(Unpackable, match="serialize returned it, and JSON cannot hold it"):
        packer.pack(Serialized("a", {1j: 2}))


# --- canonical ---


def test_the_canonical_form_knows_no_order_where_there_is_none(packer: Packer) -> None:
    def form(value: Any) -> bytes:
        return canonical(packer.pack(value))

    assert form({"a": 1, "b": {1: 2, (3,): 4}}) == form({"b": {(3,): 4, 1: 2}, "a": 1})
    assert form({"a", "b", "c"}) == form({"c", "b", "a"})
    for one, other in (([1, 2], [2, 1]), ({"a": 1}, {"a": 1.0}), ((1,), [1]), ({1: 2}, {2: 1})):
        assert form(one) != form(other)


def test_the_modules_of_the_tests_are_found() -> None:
    assert sys.modules[kinds.__name__] is kinds  # else nothing here would be


def test_what_serialize_made_comes_as_it_is_where_its_type_is_not_known(packer: Packer) -> None:
    assert packer.unpack({"$serialized": ["s", "a text"]}) == "a text"
    assert packer.unpack(packer.pack(Serialized("s", b"bytes"))) == b"bytes"
