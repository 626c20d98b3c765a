"""Formats: rows written as CSV, JSON Lines or Parquet, as they come."""

import csv
from codecs import getwriter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from metta.sweep.contracts.errors import DefinitionError, nearest
from metta.sweep.report.columns import Row, Rows, json_of, text_of
from metta.sweep.report.frames import frame
from metta.sweep.report.libraries import library

BATCH = 50_000
"""So many rows of a Parquet file are in memory at once."""


def write_csv(rows: Rows, sink: BinaryIO) -> int:
    """Write a line for each row, and one with the titles before them.

    Args:
        rows: What is written.
        sink: Where it goes.

    Returns:
        The number of rows.
    """
    columns, count = rows.columns(), 0
    lines = csv.writer(getwriter("utf-8")(sink), lineterminator="\n")
    lines.writerow([column.title for column in columns])
    for row in rows.read():
        lines.writerow([text_of(column.of(row)) for column in columns])
        count += 1
    return count


def write_jsonl(rows: Rows, sink: BinaryIO) -> int:
    """Write a JSON object for each row, each on a line of its own.

    Args:
        rows: What is written.
        sink: Where it goes.

    Returns:
        The number of rows.
    """
    count = 0
    for row in rows.read():
        sink.write(f"{json_of(row)}\n".encode())
        count += 1
    return count


def write_parquet(rows: Rows, sink: BinaryIO) -> int:
    """Write a Parquet file; what may be anything stands in it as JSON.

    Args:
        rows: What is written.
        sink: Where it goes.

    Returns:
        The number of rows.

    Raises:
        DefinitionError: When pandas or pyarrow is not installed.
    """
    library("pandas", "Parquet")
    arrow, parquet = library("pyarrow", "Parquet"), library("pyarrow.parquet", "Parquet")
    columns, count = rows.columns(), 0

    def table(some: Iterable[Row]) -> Any:
        made = frame(columns, some, json_as_text=True)
        return arrow.Table.from_pandas(made, preserve_index=False)

    with parquet.ParquetWriter(sink, table([]).schema) as writer:
        for batch in _batches(rows.read()):
            writer.write_table(table(batch))
            count += len(batch)
    return count


FORMATS: dict[str, Callable[[Rows, BinaryIO], int]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
"""How each format is written."""

BINARY = frozenset(["parquet"])
"""Formats that no terminal can show."""

ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"}
"""Formats by the endings of files."""


def format_of(name: str | None, path: Path | None) -> str:
    """Which format is meant: the one that is named, else that of the file's ending, else CSV.

    Args:
        name: Name of the format, or None.
        path: The file, or None.

    Raises:
        DefinitionError: When there is no such format, or the ending does not tell.
    """
    if name is not None:
        if name not in FORMATS:
            problem = f"there is no format {name!r}{nearest(name, list(FORMATS))}"
            raise DefinitionError([problem], "the export")
        return name
    if path is None:
        return "csv"
    if (ending := path.suffix.lower()) not in ENDINGS:
        what = f"the ending {path.suffix!r}" if ending else "a name without an ending"
        *others, last = FORMATS
        problem = f"{what} does not tell the format of {path}: add --format {', '.join(others)} or {last}"
        raise DefinitionError([problem], "the export")
    return ENDINGS[ending]


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch
