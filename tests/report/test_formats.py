import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metta.sweep import DefinitionError
from metta.sweep.report import formats
from metta.sweep.report.formats import FORMATS, format_of
from metta.sweep.report.frames import trial_frame
from metta.sweep.report.trials import trial_rows
from tests.report.varied import SPACE, varied
from tests.stores.stories import Story


def written(format: str) -> io.BytesIO:
    sink = io.BytesIO()
    assert FORMATS[format](trial_rows(varied()), sink) == 7
    sink.seek(0)
    return sink


def test_json_lines_are_the_rows() -> None:
    lines = written("jsonl").getvalue().decode().splitlines()
    assert [json.loads(line) for line in lines] == list(trial_rows(varied()).read())


def test_csv_is_read_back_cell_by_cell() -> None:
    text = written("csv").getvalue().decode()
    assert "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["status"] for row in rows] == [row["status"] for row in trial_rows(varied()).read()]
    assert rows[1]["failure.message"] == 'ValueError: größer\nals “erlaubt”, "x" = 1'
    assert (rows[0]["params.layers"], rows[1]["params.layers"]) == ("[64,32]", 'a, "b"\nc')
    assert (rows[0]["params.mlp.bias"], rows[1]["params.mlp.bias"]) == ("", "false")
    assert float(rows[1]["params.x"]) == 1 / 3


def test_pandas_reads_all_of_it_back() -> None:
    expected = trial_frame(varied())
    from_csv = pd.read_csv(written("csv"))
    assert list(from_csv) == list(expected)
    for name in ("trial", "value", "metrics.cost", "step", "params.x", "params.cnn.depth", "seed", "parent"):
        same(from_csv[name], expected[name])
    nested = pd.json_normalize([json.loads(line) for line in written("jsonl")])
    for name in ("value", "metrics.accuracy", "params.x", "params.cnn.depth", "failure.message"):
        same(nested[name], expected[name])
    assert nested["params.layers"].tolist() == expected["params.layers"].tolist()
    parquet = pd.read_parquet(written("parquet"))
    texts = expected["params.layers"].map(lambda value: json.dumps(value, separators=(",", ":")))
    expected["params.layers"] = texts.astype("string")
    pd.testing.assert_frame_equal(parquet, expected)


def same(one: Any, other: Any) -> None:
    assert one.isna().tolist() == other.isna().tolist()
    assert one.dropna().tolist() == other.dropna().tolist()


def test_polars_reads_all_of_it_back() -> None:
    rows = list(trial_rows(varied()).read())
    steps, xs = [row["step"] for row in rows], [row["params"]["x"] for row in rows]
    for frame in (pl.read_csv(written("csv")), pl.read_parquet(written("parquet"))):
        assert frame["step"].to_list() == steps
        assert frame["params.x"].to_list() == xs
        assert frame["params.mlp.bias"].to_list() == [None, False, None, False, None, False, None]
        assert frame["failure.message"].to_list()[1] == 'ValueError: größer\nals “erlaubt”, "x" = 1'
        assert frame["status"].cast(pl.String).to_list() == [row["status"] for row in rows]
    # polars has no type for a value that is a list here and a text there
    space = {name: value for name, value in SPACE.items() if name != "layers"}
    story, sink = Story(search_space=space, metric="accuracy"), io.BytesIO()
    story.start(2)
    story.complete(0, accuracy=0.5)
    FORMATS["jsonl"](trial_rows(story.table), sink)
    lines = pl.read_ndjson(io.BytesIO(sink.getvalue()))
    assert lines["value"].to_list() == [0.5, None]
    assert lines["params"].struct.field("x").to_list() == [0.0, 0.125]


def test_arrow_reads_the_types_of_a_parquet_file() -> None:
    table = pq.read_table(written("parquet"))
    assert table.num_rows == 7
    expected = {"trial": "int64", "step": "int64", "value": "double", "params.mlp.bias": "bool"}
    assert {name: str(table.schema.field(name).type) for name in expected} == expected
    assert pa.types.is_dictionary(table.schema.field("status").type)


def test_parquet_is_written_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "BATCH", 3)
    sink = written("parquet")
    assert pq.ParquetFile(sink).num_row_groups == 3
    assert pd.read_parquet(sink)["trial"].tolist() == [*range(7)]


@pytest.mark.parametrize("format", FORMATS)
def test_a_sweep_without_trials_has_columns_and_no_rows(format: str) -> None:
    sink = io.BytesIO()
    assert FORMATS[format](trial_rows(Story(search_space=SPACE).table), sink) == 0
    sink.seek(0)
    if format == "jsonl":
        assert sink.getvalue() == b""
        return
    frame = pd.read_csv(sink) if format == "csv" else pd.read_parquet(sink)
    assert len(frame) == 0
    assert "params.cnn.depth" in frame


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_only_parquet_needs_libraries(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    written("csv")
    written("jsonl")
    with pytest.raises(DefinitionError) as caught:
        written("parquet")
    assert str(caught.value) == f'Parquet: it needs {missing}: pip install "metta-sweep[report]"'


@pytest.mark.parametrize(
    ("name", "path", "format"),
    [
        (None, None, "csv"),
        (None, "a.csv", "csv"),
        (None, "b/a.JSONL", "jsonl"),
        (None, "a.ndjson", "jsonl"),
        (None, "a.pq", "parquet"),
        ("jsonl", "a.csv", "jsonl"),
        ("csv", "a.txt", "csv"),
    ],
)
def test_the_format_is_that_of_the_option_or_of_the_ending(
    name: str | None, path: str | None, format: str
) -> None:
    assert format_of(name, Path(path) if path else None) == format


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("parque", None, "there is no format 'parque'; did you mean parquet?"),
        (
            None,
            "a.xlsx",
            "the ending '.xlsx' does not tell the format of a.xlsx: add --format csv, jsonl or parquet",
        ),
        (
            None,
            "a",
            "a name without an ending does not tell the format of a: add --format csv, jsonl or parquet",
        ),
    ],
)
def test_what_is_no_format_is_told(name: str | None, path: str | None, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        format_of(name, Path(path) if path else None)
    assert str(caught.value) == f"the export: {message}"
