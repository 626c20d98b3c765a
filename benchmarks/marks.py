"""Marks: when user code ran, noted by that code itself; all processes of a machine have one clock."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from struct import Struct
from tempfile import NamedTemporaryFile
from time import monotonic
from typing import NamedTuple

FILE = "BENCHMARK_MARKS"
"""The variable that names the file of the marks; processes inherit it."""

LINE = Struct("=qdd")


class Mark(NamedTuple):
    """User code of a trial ran from one time to another, in seconds."""

    trial: int
    began: float
    ended: float


@contextmanager
def marked(trial: int = 0) -> Iterator[None]:
    """Note when the code within began and ended."""
    began = monotonic()
    yield
    os.write(
        _opened(os.environ[FILE]), LINE.pack(trial, began, monotonic())
    )  # appended whole, whoever else writes


@cache
def _opened(file: str) -> int:
    return os.open(file, os.O_WRONLY | os.O_APPEND)


def marks_of(run: Callable[[], object]) -> list[Mark]:
    """What is noted while something runs, in the order in which it began."""
    with NamedTemporaryFile(prefix="marks-") as file:
        os.environ[FILE] = file.name
        run()
        marks = map(Mark._make, LINE.iter_unpack(file.read()))
        return sorted(marks, key=lambda mark: mark.began)


def first_begins(marks: list[Mark]) -> list[float]:
    """When each trial began, in that order; what began again is left out."""
    first: dict[int, float] = {}
    for mark in marks:
        first.setdefault(mark.trial, mark.began)
    return list(first.values())


def rate(marks: list[Mark]) -> float:
    """Marks a second, from the first one to the last: what came before and after is left out."""
    return (len(marks) - 1) / (marks[-1].began - marks[0].began)
