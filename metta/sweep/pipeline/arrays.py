"""Arrays and tables: values of numpy, pandas and polars as files of their own formats.

Parquet has no place for some of what tables hold: a table of pandas' comes back without the frequency of its
index, and with arrays where a cell held a list or tuple. What it refuses is not packed here.
"""

import io
import sys
from collections.abc import Callable
from typing import IO, Any, NamedTuple

from metta.sweep.contracts.blobs import Hashed


class File(NamedTuple):
    """A part of a value that is kept as a file.

    Args:
        suffix: What its name ends with.
        write: Writes it.
        size: About how many bytes it will have; None when they may be many.
    """

    suffix: str
    write: Callable[[Hashed | IO[bytes]], object]
    size: int | None = None


class Filed(NamedTuple):
    """How a value is packed.

    Args:
        tag: Names the form in what is packed.
        parts: Files, or what is packed as any other value.
    """

    tag: str
    parts: list[Any]


def filed(value: Any) -> Filed | None:
    """A value in files; None when it is nothing that has a format of its own.

    No library is imported: that of the value has been.
    """
    match type(value).__module__.partition(".")[0]:
        case "numpy":
            return _array(value, sys.modules["numpy"])
        case "pandas":
            return _pandas(value, sys.modules["pandas"])
        case "polars":
            return _polars(value, sys.modules["polars"])
    return None


def _array(value: Any, np: Any) -> Filed | None:
    is_array = type(value) is np.ndarray
    if not is_array and not isinstance(value, np.generic):
        return None
    kind = value.dtype
    if kind.hasobject or kind.isbuiltin == 2 or kind.kind == "T":  # another library's; text of any length
        return None
    array = np.asarray(value)
    if isinstance(value, np.character) and array[()] != value:  # it ends with zeros
        return None
    file = File("npy", lambda stream: np.save(stream, array, allow_pickle=False), array.nbytes)
    return Filed("array" if is_array else "scalar", [file])


def _pandas(value: Any, pd: Any) -> Filed | None:
    if type(value) is pd.Series:
        return Filed("pandas.series", [_parquet(value.to_frame()), value.name])
    if type(value) is not pd.DataFrame:
        return None
    return Filed("pandas.frame", [_parquet(value), _labels(value.columns, pd)])


def _labels(columns: Any, pd: Any) -> Any:
    """Names of columns by themselves: parquet takes nothing but text for them, and each name once."""
    if type(columns) is pd.RangeIndex and columns.name is None:
        return range(columns.start, columns.stop, columns.step)
    names = list(columns)
    if all(type(name) is str for name in names) and pd.Index(names).identical(columns):
        return names
    buffer = io.BytesIO()
    pd.DataFrame({"0": 0}, index=columns).to_parquet(buffer, engine="pyarrow")
    return buffer.getvalue()


def _parquet(frame: Any) -> File:
    numbered = frame.set_axis([str(n) for n in range(frame.shape[1])], axis=1)
    if not frame.shape[1]:
        numbered = numbered.assign(**{"0": 0})  # parquet does not count the rows of a table without columns
    return File("parquet", lambda stream: numbered.to_parquet(stream, engine="pyarrow"))


def _polars(value: Any, pl: Any) -> Filed | None:
    if type(value) is pl.Series:
        return Filed("polars.series", [File("parquet", value.to_frame().write_parquet)])
    if type(value) is pl.DataFrame:
        return Filed("polars.frame", [File("parquet", value.write_parquet)])
    return None


def _read_array(file: IO[bytes]) -> Any:
    import numpy as np

    return np.load(file, allow_pickle=False)


def _read_pandas(file: IO[bytes]) -> Any:
    import pandas as pd

    return pd.read_parquet(file, engine="pyarrow")


def _read_pandas_series(file: IO[bytes], name: Any) -> Any:
    series = _read_pandas(file)["0"]
    series.name = name
    return series


def _read_pandas_frame(file: IO[bytes], labels: bytes | list[str] | range) -> Any:
    import pandas as pd

    columns = _read_pandas(io.BytesIO(labels)).index if isinstance(labels, bytes) else pd.Index(labels)
    frame = _read_pandas(file).iloc[:, : len(columns)]
    frame.columns = columns
    return frame


def _read_polars(file: IO[bytes]) -> Any:
    import polars as pl

    return pl.read_parquet(file)


READERS: dict[str, Callable[..., Any]] = {
    "array": _read_array,
    "scalar": lambda file: _read_array(file)[()],
    "pandas.series": _read_pandas_series,
    "pandas.frame": _read_pandas_frame,
    "polars.series": lambda file: _read_polars(file).to_series(),
    "polars.frame": _read_polars,
}
"""Make values of their parts, by the tag of their form; a file comes as one that is open."""
