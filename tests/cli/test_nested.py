"""Experiments within experiments on the command line: their tree, their budget, and a stage again."""

from pathlib import Path
from shutil import rmtree

import pytest

from metta.sweep.experiments import Experiment
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

    for late in ("budget outer/first/first 9", "stop outer/second/inner"):
        over = call(*late.split())
        told = f"error: {late.split()[1]} is over; as a part of outer it goes on only when that does\n"
        assert (over.returncode, over.stderr) == (1, told)

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


FAILING = """
import asyncio
from pathlib import Path

from metta.sweep import StageFailed, SweepFailed, Uniform
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline


def ill(params):
    raise ValueError("the data are ill")


class Kid(Experiment):
    def first(self, n: int) -> int:
        return n

    def second(self, n: int) -> int:
        raise ValueError(f"kid {n} is ill")

    def pipeline(self):
        return Pipeline().stage("first", self.first).stage("second", self.second)


class Failing(Experiment):
    async def kids(self, n: int) -> int:
        return await Kid().run(n)

    def pipeline(self):
        return Pipeline().stage("kids", self.kids)


class Catching(Experiment):
    async def kids(self, n: int) -> str:
        said = []
        for run in (lambda: Kid().run(n), lambda: Failing().run(n), lambda: search.run(budget=1)):
            try:
                await run()
            except (StageFailed, SweepFailed) as error:
                said.append(f"{type(error).__name__}: {error}")
        return "; ".join(said)

    def pipeline(self):
        return Pipeline().stage("kids", self.kids)


search = SweepExperiment(ill, {"x": Uniform(0, 1)}, name="search")
"""


def test_a_stage_runs_again_with_the_failures_of_what_it_ran(project: Path, call: Caller) -> None:
    (project / "failing.py").write_text(FAILING, "utf-8")
    assert call("run", "failing.py:Failing", "--name", "failing", "--input", "7").returncode == 1
    again = call("replay", "failing", "--stage", "kids")
    assert (again.returncode, again.stdout) == (1, "next: sweep replay failing --stage kids --pdb\n")
    assert again.stderr.splitlines()[-1].endswith(
        "StageFailed: stage second failed: ValueError: kid 7 is ill"
    )

    given = call("run", "failing.py:Catching", "--name", "catching", "--input", "7")
    assert given.returncode == 0, given.stderr
    value = repr(Experiment.attach("catching").result())
    again = call("replay", "catching", "--stage", "kids")
    assert again.stdout.splitlines()[0] == f"kids gave {value}"
    assert (
        "StageFailed: stage second failed: ValueError: kid 7 is ill; StageFailed: stage kids failed" in value
    )


CHANGING = """
from pathlib import Path

from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

CHANGED = False


def fails(n):
    if FAILING and not CHANGED:
        raise ValueError("no luck")
    return n


class Kid(Experiment):
    def pipeline(self):
        kid = Pipeline().stage("first", lambda n: n)
        if CHANGED:
            kid = kid.stage("new", lambda n: n + 100)
        return kid.stage("last", fails if FAILING == "kid" else lambda n: n)


class Named(Experiment):
    async def work(self, n: int) -> int:
        return fails(await Kid().run(n, name="kid"))

    def pipeline(self):
        return Pipeline().stage("work", self.work)


class Unnamed(Experiment):
    async def work(self, n: int) -> int:
        return fails(await Kid().run(n))

    def pipeline(self):
        return Pipeline().stage("work", self.work)


class Staged(Experiment):
    def pipeline(self):
        return Pipeline().stage("kid", Kid()).stage("last", fails)
"""


def changed(project: Path, call: Caller, kind: str, failing: str) -> None:
    """An experiment has failed, or one within it, and after that the one within it is changed."""
    script = project / "changing.py"
    script.write_text(f"FAILING = {failing!r}\n{CHANGING}", "utf-8")
    assert call("run", f"changing.py:{kind}", "--name", "top", "--input", "7").returncode == 1
    script.write_text(script.read_text("utf-8").replace("CHANGED = False", "CHANGED = True"), "utf-8")


def test_another_definition_under_the_name_of_one_that_has_given_a_value_is_refused(
    project: Path, call: Caller
) -> None:
    changed(project, call, "Named", "parent")
    done = call("retry", "top")
    assert done.returncode == 1
    assert "the nested run kid: the stage work has run another definition under this name" in done.stderr


def test_another_definition_without_a_name_is_another_run(project: Path, call: Caller) -> None:
    changed(project, call, "Unnamed", "parent")
    assert call.printed("retry", "top") == "107\n"


@pytest.mark.parametrize(
    ("kind", "stage", "within"), [("Staged", "kid", "kid"), ("Named", "work", "work/kid")]
)
def test_another_definition_of_one_that_has_failed_is_refused_with_the_way_out(
    project: Path, call: Caller, kind: str, stage: str, within: str
) -> None:
    changed(project, call, kind, "kid")
    done = call("retry", "top")
    assert done.returncode == 1
    assert f"the experiment top/{within}:\n- its pipeline was changed:\n" in done.stderr
    assert (
        "run it anew from the stage of top that it runs in: `sweep retry top --from-stage STAGE`"
        in done.stderr
    )
    assert call.printed("retry", "top", "--from-stage", stage) == "107\n"


def test_a_tree_is_of_something(script: Path, call: Caller) -> None:
    refused = call("show", "--tree")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: Missing argument 'NAME'; see sweep show --help\n",
    )
    unknown = call("show", "outre", "--tree")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: there is no sweep or experiment 'outre' here\n",
    )


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
