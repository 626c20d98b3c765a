from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from metta.sweep.pipeline.packing import Packer
from metta.sweep.pipeline.unpacking import Misread
from metta.sweep.stores.data import DataStore
from tests.pipeline.packed import Other, there_and_back


def test_large_arrays_lie_beside_the_value(packer: Packer, store: DataStore) -> None:
    packed: Any = packer.pack({"small": np.ones(2), "large": np.ones(1000)})
    [part] = packed["large"]["$array"]
    assert np.array_equal(np.load(store.path(part["$blob"])), np.ones(1000))
    assert isinstance(packed["small"]["$array"][0], str)


def test_an_array_has_one_name_whatever_lies_around_it(packer: Packer) -> None:
    array = np.arange(4000.0)
    assert packer.pack([array]) == packer.pack([array.copy()])
    assert packer.pack([array]) != packer.pack([array + 1])


def test_a_pickle_inside_an_array_is_not_read(packer: Packer, store: DataStore) -> None:
    name = store.put("npy", lambda file: np.save(file, np.array([Other()]), allow_pickle=True))
    with pytest.raises(Misread, match="allow_pickle=False"):
        packer.unpack({"$array": [{"$blob": name}]})


TABLE = pd.DataFrame(
    {
        "n": [1, 2],
        "t": ["x", None],
        "c": pd.Categorical(["u", "v"], ordered=True),
        "d": pd.date_range("2020", periods=2, tz="UTC"),
        "i": pd.array([1, None], dtype="Int64"),
    }
)


@pytest.mark.parametrize(
    "frame",
    [
        TABLE,
        TABLE.set_index(["n", "t"]),
        pd.DataFrame(np.ones((2, 3))),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["n", None])),
        pd.DataFrame([[1]], columns=pd.Index(["a"], name="named")),
        pd.DataFrame({"a": [1, 2]}, index=["r", "s"]),
        pd.DataFrame(),
        pd.DataFrame(index=range(3)),
        pd.DataFrame(columns=["a", "b"]),
    ],
)
def test_a_frame_of_pandas_comes_back(packer: Packer, frame: Any) -> None:
    pd.testing.assert_frame_equal(there_and_back(packer, [frame])[0], frame, check_freq=False)


@pytest.mark.parametrize(
    "series",
    [*(TABLE[name] for name in TABLE), pd.Series([1.5], name=("a", 1), index=["r"]), pd.Series([True])],
)
def test_a_series_of_pandas_comes_back(packer: Packer, series: Any) -> None:
    pd.testing.assert_series_equal(there_and_back(packer, series), series)


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1, 2], []]}),
        pl.DataFrame({"e": pl.Series(["a"], dtype=pl.Enum(["a", "b"])), "f": pl.Series([1], dtype=pl.Int8)}),
        pl.DataFrame(),
    ],
)
def test_a_frame_of_polars_comes_back(packer: Packer, frame: Any) -> None:
    back = there_and_back(packer, frame)
    assert back.schema == frame.schema
    assert back.equals(frame)


def test_a_series_of_polars_comes_back(packer: Packer) -> None:
    series = pl.Series("", [1.5, None])
    back = there_and_back(packer, series)
    assert back.name == ""
    assert back.equals(series)
