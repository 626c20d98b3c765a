"""Experiments within experiments on the command line: their tree, their budget, and a stage again."""

from pathlib import Path
from shutil import rmtree

import pytest

from tests.cli.conftest import Caller

SCRIPT = """
import asyncio
from pathlib import Path

from metta.sweep import Uniform, configure
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline


def train(params):
    return {"score": 1 - (params["x"] - 0.3) ** 2}


def sweep(name):
    return SweepExperiment(search_space={"x": Uniform(0, 1)}, name=name, seed=3)


class Inner(Experiment):
    async def search(self) -> float:
        found = await asyncio.gather(*(sweep(f"part-{n}").run(budget=5) for n in range(2)))
        return max(results.best_metric for results in found)

    def pipeline(self):
        return Pipeline().stage("search", self.search)


class Outer(Experiment):
    def first(self) -> float:
        return sweep("first").run(budget=4).best_metric

    async def second(self, value: float) -> float:
        best = await Inner().run(name="inner")
        with Path("runs").open("a") as runs:
            runs.write(f"{best}\\n")
        return max(value, best)

    def pipeline(self):
        return Pipeline().stage("first", self.first).stage("second", self.second)


if __name__ == "__main__":
    configure(objective=train, metric="score", goal="maximize")
    Outer().run(name="outer")
"""


@pytest.fixture
def script(project: Path) -> Path:
    (project / "outer.py").write_text(SCRIPT, "utf-8")
    return project


def test_what_runs_within_is_a_tree_and_a_stage_runs_again_with_what_it_gave(
    script: Path, call: Caller
) -> None:
    done = call("run", "outer.py", "--budget", "12")
    assert done.returncode == 0, done.stderr
    lines = call.printed("show", "outer", "--tree").splitlines()
    assert lines[0] == "outer  finished  2 stages"
    assert lines[1].startswith("├── first/first  finished  4 trials, best score 0.")
    assert lines[2] == "└── second/inner  finished  1 stage"
    assert lines[3].startswith("    ├── search/part-0  finished  ")
    assert lines[4].startswith("    └── search/part-1  finished  ")
    assert lines[5].startswith("next: sweep show outer   UI: ")

    tree = call.json("show", "outer", "--tree")
    inner = tree["within"][1]
    trials = [sweep["progress"]["counts"]["started"] for sweep in inner["within"]]
    assert (inner["experiment"], sorted(trials)) == ("outer/second/inner", [3, 5])
    assert "within it: 4; `sweep show outer --tree` shows them" in call.printed("show", "outer")
    overview = call.printed("ls").splitlines()
    assert [line.split()[0] for line in overview] == ["experiment", "outer", "next:"]

    again = call("replay", "outer", "--stage", "second")
    assert again.returncode == 0, again.stderr
    first, second = (script / "runs").read_text().splitlines()
    assert first == second


def test_a_tree_is_of_something(script: Path, call: Caller) -> None:
    refused = call("show", "--tree")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: Missing argument 'NAME'; see sweep show --help\n",
    )
    unknown = call("show", "outre", "--tree")
    assert (unknown.returncode, unknown.stderr) == (1, "error: there is no sweep 'outre' here\n")


def test_a_budget_that_is_used_up_says_what_to_do(script: Path, call: Caller) -> None:
    failed = call("run", "outer.py", "--budget", "4")
    assert failed.returncode == 1
    assert "nothing is left for search/part-" in failed.stderr
    assert " of the budget that it shares (trials=0)" in failed.stderr
    assert "give outer a larger one, and let it go on" in failed.stderr
    tree = call.printed("show", "outer", "--tree").splitlines()
    assert tree[0] == "outer  failed  1 stage"
    done = call("run", "outer.py", "--resume", "--budget", "20")
    assert done.returncode == 0, done.stderr


def test_in_this_process_nothing_divides_a_budget(script: Path, call: Caller) -> None:
    refused = call("run", "outer.py", "--debug", "--budget", "4")
    assert refused.returncode == 2
    assert "leave it or debug out, got 4" in refused.stderr


CONFIGURED = """
from pathlib import Path

from metta.sweep import Uniform, configure
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline


def train(params):
    return {"loss": params["x"]}


class Configured(Experiment):
    search_space = {"x": Uniform(0, 1)}

    def check(self, context):
        if not Path("mended").exists():
            raise ValueError("not yet")
        return context

    def pipeline(self):
        return Pipeline().stage("search", self.random_search(n_trials=3)).stage("check", self.check)


if __name__ == "__main__":
    configure(objective=train, metric="loss")
    Configured().run(name="configured")
"""


def test_what_was_configured_holds_for_all_that_looks_at_it_again(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(CONFIGURED, "utf-8")
    assert call("run", "mine.py").returncode == 1
    (project / "mended").touch()
    assert call("replay", "configured", "--stage", "check").returncode == 0
    retried = call("retry", "configured")
    assert retried.returncode == 0, retried.stderr
    call.printed("dev", "--stop")
    rmtree(project / ".metta-sweep" / "server")
    told = call("replay", "configured")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "takes the path that is recorded" in told.stdout
