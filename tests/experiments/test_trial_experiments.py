"""Experiments as objectives, from the public API."""

import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from metta.sweep import DefinitionError, RetryPolicy, SweepFailed, Uniform, configure
from metta.sweep.executors import LocalExecutor, WorkerExecutor
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline
from metta.sweep.schedulers import ASHAScheduler, MedianStoppingScheduler, Scheduler

RATE = {"rate": Uniform(0, 1)}
ONE = LocalExecutor(max_parallel=1)

SCRIPT = """\
from typing import NamedTuple

from metta.sweep import Uniform
from metta.sweep.experiments import Experiment, SweepExperiment
from metta.sweep.experiments.base import Pipeline


class Score(NamedTuple):
    loss: float
    model: str


class Fit(Experiment):
    rate: float
    width: int = 2

    def train(self) -> float:
        return self.rate * self.width

    def score(self, weight: float) -> Score:
        return Score((weight - 1) ** 2, "a model")

    def pipeline(self) -> Pipeline[Score]:
        return Pipeline().stage("train", self.train).stage("score", self.score).through(Score)


sweep = SweepExperiment(Fit(rate=0, width=3), {"rate": Uniform(0, 1)}, metric="loss", seed=1, name="fits")
if __name__ == "__main__":
    print(sweep.run(2).best_metric)
"""


class Fit(Experiment):
    rate: float
    width: int = 2

    def train(self) -> float:
        return self.rate * self.width

    def pipeline(self) -> Pipeline[Any]:
        return (
            Pipeline().stage("train", self.train).stage("score", lambda weight: {"loss": (weight - 1) ** 2})
        )


def twice(weight: int = 1) -> int:
    return weight * 2


class Empty(Experiment):
    rate: float = 0.0


class Loose(Experiment):
    rate: float = 0.0

    def pipeline(self) -> Pipeline[Any]:
        return Pipeline().stage("train", twice).through(int).stage("train", twice)


class Watching(Scheduler):
    """One of the user's."""


def mistakes(objective: Any, space: Any = RATE, **more: Any) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        SweepExperiment(objective, space, metric="loss", **more)
    return caught.value.problems


def losses(results: Any) -> list[bool]:
    return [t.metrics["loss"] == (t.params["rate"] * 3 - 1) ** 2 for t in results.trials]


def test_a_script_and_the_command_run_a_sweep_of_an_experiment(hosted: Path) -> None:
    (hosted / "script.py").write_text(SCRIPT, "utf-8")
    sweep = str(Path(sys.executable).with_name("sweep"))

    def told(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    best = float(told(sys.executable, "script.py"))
    assert "3 of 3 trials" in told(sweep, "run", "script.py:sweep", "--budget", "3", "--resume")
    shown = told(sweep, "show", "fits")
    assert "3 completed" in shown
    assert f"{best:.4g}" in shown
    assert "train" in told(sweep, "show", "fits/trial-0/experiment")
    assert "trial-0" not in told(sweep, "ls")


def test_fields_that_are_not_searched_are_those_of_the_experiment(hosted: Path) -> None:
    sweep = SweepExperiment(Fit(rate=0, width=3), RATE, metric="loss", seed=1, executor=ONE)
    results = sweep.run(2, name="wide")
    assert losses(results) == [True, True]
    wider = SweepExperiment(Fit(rate=0, width=4), RATE, metric="loss", seed=1)
    with pytest.raises(DefinitionError, match=r"objective.fields.width was 3 and is now 4"):
        wider.run(3, name="wide", resume=True)


def test_a_class_that_only_a_function_knows_travels_by_value(hosted: Path) -> None:
    class Inner(Fit):
        width: int = 3

    sweep = SweepExperiment(Inner, RATE, metric="loss", seed=1, executor=ONE)
    assert losses(sweep.run(2, name="inner")) == [True, True]


def test_a_class_that_cannot_travel_is_refused_before_anything_starts(hosted: Path) -> None:
    lock = Lock()

    class Held(Fit):
        def train(self) -> float:
            with lock:
                return 0.0

    with pytest.raises(DefinitionError) as caught:
        SweepExperiment(Held, RATE, metric="loss").run(1, name="held")
    [problem] = caught.value.problems
    assert "Held has to travel to other processes by value, and cannot: TypeError: cannot pickle" in problem
    assert problem.endswith("Define it in a module or script, and make there what cannot travel")
    assert not (hosted / ".metta-sweep/sweeps/held").exists()


def test_a_script_names_functions_alone(hosted: Path) -> None:
    (hosted / "script.py").write_text(SCRIPT, "utf-8")
    with pytest.raises(DefinitionError, match="the objective Fit is an experiment, named like a function"):
        SweepExperiment("script.py:Fit", RATE, metric="loss", executor=ONE).run(1)


def test_a_module_names_an_experiment_as_well(hosted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(hosted)
    (hosted / "fitting.py").write_text(SCRIPT, "utf-8")
    sweep = SweepExperiment("fitting:Fit", RATE, metric="loss", seed=1, executor=ONE)
    assert sweep.run(1, name="named").trials[0].metrics.keys() == {"loss"}
    assert mistakes("fitting:Fit", {"rte": Uniform(0, 1)})[0] == (
        "search_space: rte is no field of Fit; did you mean rate?"
    )
    assert mistakes("fitting:sweep") == (
        "objective is a sweep; give an Experiment, whose fields the parameters are, and let the sweep be one"
        " of its stages",
    )


def test_debugging_runs_all_of_it_in_this_process(project: Path) -> None:
    sweep = SweepExperiment(Fit(rate=0, width=3), RATE, metric="loss", seed=1)
    results = sweep.run(3, debug=True, name="here")
    assert losses(results) == [True] * 3


def test_debugging_shows_failures_by_their_kinds(project: Path) -> None:
    class Texts(Fit):
        def train(self) -> Any:
            return "good"

        def pipeline(self) -> Pipeline[Any]:
            return Pipeline().stage("train", self.train)

    with pytest.raises(SweepFailed, match="its result is 'good', which is no number"):
        SweepExperiment(Texts, RATE, metric="loss", max_failures=1).run(1, debug=True, name="texts")


def test_a_sweep_of_an_experiment_may_be_a_stage(hosted: Path) -> None:
    sweep = SweepExperiment(Fit(rate=0, width=3), RATE, metric="loss", seed=1, budget=2, executor=ONE)
    pipeline = Pipeline().stage("tune", sweep).stage("count", lambda results: len(results.trials))
    assert pipeline.run(name="tuned") == 2


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(
        Fit,
        {"rte": Uniform(0, 1), "widht": Uniform(1, 2)},
        scheduler=ASHAScheduler(max_epochs=9),
        executor=WorkerExecutor(),
    )
    assert found[:4] == (
        "search_space: rte is no field of Fit; did you mean rate?",
        "search_space: widht is no field of Fit; did you mean width?",
        "objective: Fit needs rate, which is neither set nor searched; give Fit(rate=...), or a distribution"
        " for it",
        "scheduler decides by what trials report while they run, and an experiment has a result only at its"
        " end; leave scheduler out, or take SynchronousBatchScheduler()",
    )
    assert found[4].startswith("executor: the objective is an experiment, whose stages run on the workers")
    assert len(found) == 5


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Empty, ("objective: Empty does not define pipeline; write `def pipeline(self) -> Pipeline`",)),
        (
            Pipeline().stage("train", len),
            (
                "objective is a pipeline, which has no fields for parameters: give an Experiment, whose"
                " fields the parameters are",
            ),
        ),
        (
            SweepExperiment(Fit, RATE, metric="loss"),
            (
                "objective is a sweep; give an Experiment, whose fields the parameters are, and let the sweep"
                " be one of its stages",
            ),
        ),
    ],
    ids=["without a pipeline", "pipeline", "sweep"],
)
def test_what_cannot_be_tried_is_refused_with_what_to_do(objective: Any, expected: tuple[str, ...]) -> None:
    assert mistakes(objective) == expected


def test_a_pipeline_that_does_not_fit_together_is_told_where_its_fields_are_known() -> None:
    [problem] = mistakes(Loose())
    assert problem.startswith("objective: ")
    assert "train" in problem


def test_memory_that_grows_is_refused() -> None:
    growing = RetryPolicy(max_attempts=2, on_oom="grow")
    assert mistakes(Fit, retry=growing)[0].startswith("resources: the objective is an experiment")


def test_schedulers_that_need_no_reports_are_taken() -> None:
    SweepExperiment(Fit, RATE, metric="loss", scheduler=Watching())
    assert len(mistakes(Fit, scheduler=MedianStoppingScheduler())) == 1


def test_an_experiment_may_be_the_default_objective(project: Path) -> None:
    configure(objective=Fit, metric="loss")
    assert len(SweepExperiment(search_space=RATE).run(2, debug=True).trials) == 2
