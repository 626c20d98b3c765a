"""What goes on has to get more than it has spent, and is told so before anything begins."""

from pathlib import Path

import pytest

from metta.sweep.client.settings import Settings
from metta.sweep.contracts.budgets import Budget
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.trials import TrialTable
from tests.cli.conftest import Caller

SCRIPT = """
from metta.sweep import Budget, Uniform
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline


def train(params):
    return {"score": params["x"]}


def search(name):
    return SweepExperiment(train, {"x": Uniform(0, 1)}, metric="score", goal="maximize", name=name, seed=3)


class Gat(Experiment):
    def s(self) -> int:
        return len(search("part").run(budget=4).trials)

    def pipeline(self):
        return Pipeline().stage("s", self.s)


class Two(Experiment):
    async def s(self) -> int:
        found = [await search(name).run(budget=3) for name in ("first", "second")]
        return sum(len(results.trials) for results in found)

    def pipeline(self):
        return Pipeline().stage("s", self.s)


class Deep(Experiment):
    async def run_two(self) -> int:
        return await Two().run(name="two", budget=3)

    def pipeline(self):
        return Pipeline().stage("go", self.run_two)


sweep = search("sw")
"""


@pytest.fixture
def script(project: Path) -> Path:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    return project


def refusal(name: str, spent: int, got: int) -> str:
    return (
        f"error: the budget of {name}: trials: {spent} are spent, got {got}; give more than that, or leave it"
        " out to keep the one that it had\n"
    )


def test_an_experiment_cannot_go_on_with_less_than_it_has_spent(script: Path, call: Caller) -> None:
    begun = call("run", "mine.py:Gat", "--name", "gat", "--budget", "4")
    assert (begun.returncode, begun.stdout) == (0, "4\n"), begun.stderr
    log = FileStore(Settings.load().home).outcome_log("gat")
    recorded = [*log.entries()]
    for command in (
        ("retry", "gat", "--from-stage", "s", "--budget", "3"),
        ("run", "mine.py:Gat", "--name", "gat", "--resume", "--budget", "3"),
    ):
        refused = call(*command)
        assert (refused.returncode, refused.stderr) == (2, refusal("gat", 4, 3)), command
        assert [*log.entries()] == recorded
    same = call("run", "mine.py:Gat", "--name", "gat", "--resume", "--budget", "4")
    assert (same.returncode, same.stdout) == (0, "4\n"), same.stderr


def test_nor_can_a_sweep(script: Path, call: Caller) -> None:
    assert call("run", "mine.py:sweep", "--budget", "3").returncode == 0
    ledger = FileStore(Settings.load().home).ledger("sw")
    table = TrialTable(ledger.read())
    for command in (
        ("retry", "sw", "--budget", "2"),
        ("run", "mine.py:sweep", "--resume", "--budget", "2"),
        ("run", "mine.py:sweep", "--resume", "--budget", "2", "--debug"),
    ):
        refused = call(*command)
        assert (refused.returncode, refused.stderr) == (2, refusal("sw", 3, 2)), command
        now = TrialTable(ledger.read())
        assert (now.epoch, now.control.budget) == (table.epoch, Budget(trials=3))
    assert call("run", "mine.py:sweep", "--resume", "--budget", "3").returncode == 0
    assert call("retry", "sw", "--budget", "4").returncode == 0


def test_a_limit_in_code_is_told_of_the_one_that_was_given_it(script: Path, call: Caller) -> None:
    told = (
        "nothing is left for s/second of the budget that it shares (trials=3): it is that of deep/go/two,"
        " given in code: give it a larger one there (`budget=` where it is run), and let deep go on"
    )
    for command in (
        ("run", "mine.py:Deep", "--name", "deep", "--budget", "5"),
        ("retry", "deep", "--budget", "60"),
    ):
        failed = call(*command)
        assert failed.returncode == 1, command
        assert told in failed.stderr
    mine = script / "mine.py"
    mine.write_text(SCRIPT.replace('name="two", budget=3', 'name="two", budget=30'), "utf-8")
    done = call("retry", "deep")
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
