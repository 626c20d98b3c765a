"""The command with experiments that hold an optimizer in a field."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Caller

SCRIPT = """\
from metta.sweep import Uniform, Trial
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.optimizers import Optimizer, RandomOptimizer

class Mine(Optimizer):
    def __init__(self, x=0.5):
        self.x = x

    def suggest(self, n):
        return [Trial({"x": self.x})]

    def observe(self, trial, result):
        self.x = result / 2

class Tune(Experiment):
    optimizer: Optimizer = Mine()

    def pipeline(self):
        pipeline = Pipeline()
        for name in "ab":
            pipeline = (
                pipeline.stage(f"suggest {name}", self.optimizer.suggest)
                .stage(f"train {name}", lambda x: x)
                .through(score=float)
                .stage(f"observe {name}", self.optimizer.observe)
            )
        return pipeline.stage("tell", lambda score: score)
"""

SPACE = {"x": {"type": "constant", "value": 0.25}}


@pytest.mark.parametrize(
    ("optimizer", "printed"),
    [
        (None, "0.25"),
        ({"type": "random", "options": {"search_space": SPACE}}, "0.25"),
        ({"type": "tune.py:Mine", "x": 4.0}, "2.0"),
    ],
)
def test_an_optimizer_is_set_on_the_command_line(
    project: Path, call: Caller, optimizer: object, printed: str
) -> None:
    (project / "tune.py").write_text(SCRIPT, "utf-8")
    options = ("--set", f"optimizer={json.dumps(optimizer)}") if optimizer else ()
    done = call("run", "tune.py:Tune", *options, "--debug")
    assert (done.returncode, done.stdout) == (0, f"{printed}\n"), done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("randm", "unknown optimizer 'randm'; did you mean random?"),
        ("3", "give an optimizer, its name, or an object such as"),
        ('{"type": "random", "sed": 1}', "sed is unknown; did you mean seed?"),
        ("tune.py:Nobody", "tune.py:Nobody: there is no 'Nobody' in"),
    ],
)
def test_what_is_no_optimizer_is_refused(project: Path, call: Caller, given: str, message: str) -> None:
    (project / "tune.py").write_text(SCRIPT, "utf-8")
    done = call("run", "tune.py:Tune", "--set", f"optimizer={given}", "--debug")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: Tune: optimizer: {message}")
