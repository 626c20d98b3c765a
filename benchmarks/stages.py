"""Stages: what a trivial one costs, one after the other and side by side, on the embedded server."""

from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.machine import markdown
from benchmarks.marks import Mark, marks_of
from benchmarks.project import project, sweep

SEQUENTIAL = 60
FEW, MANY = 6, 20

SCRIPT = f"""
from benchmarks.marks import marked
from metta.sweep.experiments.base import Pipeline


def trivial(x: int) -> int:
    with marked():
        return x


def chain(stages: int) -> Pipeline:
    pipeline = Pipeline().through(x=int)
    for number in range(stages):
        pipeline = pipeline.stage(f"stage-{{number}}", trivial).through(x=int)
    return pipeline


def branches(count: int) -> Pipeline:
    return Pipeline().through(x=int).parallel({{f"b{{number}}": trivial for number in range(count)}})


sequential, few, many = chain({SEQUENTIAL}), chain({FEW}), branches({MANY})
"""


def table() -> str:
    """From one stage to the next, and from the first to the last of a few stages and of many branches."""
    with project():
        Path("script.py").write_text(SCRIPT, "utf-8")
        steps = [after.began - before.began for before, after in pairwise(_marks("sequential"))]
        few, many = (_seconds(_marks(name)) for name in ("few", "many"))
    rows = [
        [f"{SEQUENTIAL} stages, one after the other: a stage", f"{1000 * median(steps):.0f} ms"],
        [f"{FEW} stages, one after the other", f"{1000 * few:.0f} ms"],
        [f"{MANY} branches side by side", f"{1000 * many:.0f} ms"],
    ]
    return markdown(["trivial stages", "from the first to the last"], rows)


def _marks(name: str) -> list[Mark]:
    return marks_of(lambda: sweep("run", f"script.py:{name}", "--input", '{"x": 1}'))


def _seconds(marks: list[Mark]) -> float:
    return marks[-1].ended - marks[0].began
