"""Where an objective may be defined: whatever Python can run, other processes have to find again."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Trial, Uniform
from metta.sweep.experiments import SweepExperiment

HEAD = """\
import sys
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

X = {"x": Uniform(0, 1)}
"""

UNGUARDED = f"""{HEAD}
from helper import SCALE

print("importing")
scale = SCALE * float(sys.argv[1])

def train(params):
    return {{"accuracy": scale + params["x"] + float(open("offset.txt").read())}}

results = SweepExperiment(train, X).run(budget=2)
print("best", results.best_metric)
"""

GUARDED = f"""{HEAD}
class Model:
    def __init__(self, shift):
        self.shift = shift
    def __call__(self, params):
        return {{"accuracy": params["x"] + self.shift + OFFSET}}

OFFSET = 10

if __name__ == "__main__":
    print("best", SweepExperiment(Model(20), X).run(budget=2).best_metric)
"""

TYPED = f"""{HEAD}
OFFSET = 10

def helper(x):
    return x + OFFSET

def train(trial):
    return {{"accuracy": helper(trial.params["x"])}}

print("best", SweepExperiment(train, X).run(budget=2).best_metric)
"""


def python(*arguments: str, program: str | None = None) -> str:
    """Run Python in the current folder, and return what it printed.

    Args:
        arguments: Its arguments.
        program: What it reads from standard input.
    """
    done = subprocess.run(
        [sys.executable, *arguments], input=program, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def best(printed: str) -> float:
    return float(printed.rpartition("best ")[2])


def test_an_unguarded_script_runs_once_with_its_arguments_and_folder(hosted: Path) -> None:
    (hosted / "code").mkdir()
    (hosted / "code/train.py").write_text(UNGUARDED, "utf-8")
    (hosted / "code/helper.py").write_text("SCALE = 100\n", "utf-8")
    (hosted / "offset.txt").write_text("10", "utf-8")
    printed = python("code/train.py", "5")
    assert printed.count("importing") == 1
    assert 510 < best(printed) < 511


@pytest.mark.parametrize("way", [("script.py",), ("-m", "script")])
def test_a_guarded_script_may_search_with_an_object_of_its_own(hosted: Path, way: tuple[str, ...]) -> None:
    (hosted / "script.py").write_text(GUARDED, "utf-8")
    assert 30 < best(python(*way)) < 31


def test_a_module_of_a_package_is_found_by_its_name(hosted: Path) -> None:
    (hosted / "lab").mkdir()
    (hosted / "lab/__init__.py").touch()
    (hosted / "lab/scale.py").write_text("SCALE = 7\n", "utf-8")
    program = TYPED.replace("OFFSET = 10", "from lab.scale import SCALE as OFFSET\nfrom . import scale")
    guarded = program.replace("print(", 'if __name__ == "__main__":\n    print(')
    (hosted / "lab/train.py").write_text(guarded, "utf-8")
    assert 7 < best(python("-m", "lab.train")) < 8


@pytest.mark.parametrize("way", ["-c", "-"])
def test_what_is_typed_in_travels_by_value_with_all_it_uses(hosted: Path, way: str) -> None:
    printed = python("-c", TYPED) if way == "-c" else python("-", program=TYPED)
    assert 10 < best(printed) < 11


def test_what_a_notebook_defines_travels_by_value(hosted: Path) -> None:
    # like a cell: compiled without a file, run in a namespace called __main__, while an event loop runs
    cell = compile(TYPED.rpartition("print")[0], "<cell>", "exec")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(cell, namespace)

    async def notebook() -> float:
        results = await SweepExperiment(namespace["train"], namespace["X"]).run(budget=2)
        return results.best_metric

    assert 10 < asyncio.run(notebook()) < 11


def _closure() -> Callable[[Trial], dict[str, float]]:
    offset = 10

    def train(trial: Trial) -> dict[str, float]:
        return {"accuracy": trial.params["x"] + offset}

    return train


class _Lab:
    offset = 10

    def train(self, trial: Trial) -> dict[str, float]:
        return {"accuracy": trial.params["x"] + self.offset}

    async def later(self, trial: Trial) -> dict[str, float]:
        await asyncio.sleep(0)
        return self.train(trial)


def test_every_callable_is_an_objective(hosted: Path) -> None:
    objectives: dict[str, Callable[..., object]] = {
        "closure": _closure(),
        "lambda": lambda params: {"accuracy": params["x"] + 10},
        "method": _Lab().train,
        "async": _Lab().later,
        "partial": partial(lambda n, params: {"accuracy": params["x"] + n}, 10),
    }
    handles = [SweepExperiment(o, {"x": Uniform(0, 1)}, name=name).start(1) for name, o in objectives.items()]
    assert all(10 < handle.result().best_metric < 11 for handle in handles)
