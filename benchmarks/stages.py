"""Stages: what trivial ones cost, one after the other and side by side, on the embedded server."""

from pathlib import Path
from statistics import median

from benchmarks.bare import marks_of_bare
from benchmarks.machine import markdown
from benchmarks.marks import Mark, marks_of
from benchmarks.project import project, sweep

ROUNDS = 20
ROW, WIDTH = 6, 20
"""So many stages in a row are held against so many branches side by side."""

SCRIPT = f"""
from benchmarks.marks import marked
from metta.sweep.experiments.base import Pipeline


def trivial(x: int) -> int:
    with marked():
        return x


def joined(b0: int) -> int:
    return b0


row = side = Pipeline().through(x=int)
for number in range({ROUNDS * ROW}):
    row = row.stage(f"stage-{{number}}", trivial).through(x=int)
for number in range({ROUNDS}):
    side = side.parallel({{f"b{{branch}}": trivial for branch in range({WIDTH})}})
    side = side.stage(f"join-{{number}}", joined).through(x=int)
"""


def table() -> str:
    """From the first to the last, of a few stages in a row and of many side by side."""
    with project():
        Path("script.py").write_text(SCRIPT, "utf-8")
        rows = [
            [f"{ROW} in a row", *_shown(ROW, _marks("row"), marks_of_bare(ROUNDS * ROW, 1))],
            [f"{WIDTH} side by side", *_shown(WIDTH, _marks("side"), marks_of_bare(ROUNDS, WIDTH))],
        ]
    return markdown(["from the first to the last of", "stages", "the engine's activities alone"], rows)


def _marks(name: str) -> list[Mark]:
    return marks_of(lambda: sweep("run", f"script.py:{name}", "--input", '{"x": 1}'))


def _shown(count: int, *runs: list[Mark]) -> list[str]:
    """The median over the rounds of each run."""
    return [f"{1000 * median(_spans(marks, count)):.0f} ms" for marks in runs]


def _spans(marks: list[Mark], count: int) -> list[float]:
    firsts, lasts = marks[::count], marks[count - 1 :: count]
    return [last.ended - first.began for first, last in zip(firsts, lasts, strict=True)]
