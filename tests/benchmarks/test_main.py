import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.machine import markdown

REQUIREMENTS = Path(__file__).parents[2] / "benchmarks/requirements.txt"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_has_a_table(name: str) -> None:
    assert callable(import_module(f"benchmarks.{name}").table)


def test_an_unknown_benchmark_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "throughput", "speed"])
    with pytest.raises(SystemExit):
        main()
    assert "unknown benchmark 'speed'; known: throughput, " in capsys.readouterr().err


def test_short_rows_of_a_table_are_filled_up() -> None:
    assert markdown(["a", "b", "c"], [["1"]]).splitlines() == [
        "| a | b | c |",
        "| --- | ---: | ---: |",
        "| 1 |  |  |",
    ]


def test_peers_are_pinned_by_version_alone() -> None:
    lines = REQUIREMENTS.read_text("utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z-]+(\[[a-z]+\])?==[0-9.]+", line)] == []
