"""What need not be said for each experiment: by `configure(...)`, and in pyproject.toml."""

import json
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from metta.sweep import DefinitionError, Resources, RetryPolicy, Trial, Uniform, configure
from metta.sweep.contracts.components import ComponentSpec, load
from metta.sweep.contracts.defaults import travelled
from metta.sweep.contracts.importing import import_script
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, defaults
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, SynchronousBatchScheduler
from tests.cli.commands import sweep

X = {"x": Uniform(0, 1)}

Configure: Any = configure
"""For mistakes that type checkers would find, too."""


def in_file(text: str) -> None:
    """Make it what the pyproject.toml of the current folder says of sweeps."""
    Path("pyproject.toml").write_text(f"[tool.metta-sweep]\n{text}\n", "utf-8")


def train(params: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": params["x"]}


def bare(params: dict[str, Any]) -> float:
    return float(params["x"])


def climb(trial: Trial) -> None:
    for step in (1, 2, 3):
        trial.report(step=step, accuracy=trial.params["x"])


def test_an_argument_comes_before_configure_and_that_before_the_file(project: Path) -> None:
    in_file("objective = 'math:exp'\nmetric = 'filed'\ntimeout = 1\nmax_failures = 1\nretry = 1")
    configure(objective=bare, metric="configured", timeout=2, max_failures=2)
    made = SweepExperiment(train, X, metric="said", max_failures=5)
    assert made.objective is train
    assert (made._spec.metric, made._spec.max_failures) == ("said", 5)
    assert (made._spec.timeout, made._spec.retry) == (2, RetryPolicy(max_attempts=1))
    assert SweepExperiment(search_space=X).objective is bare


def test_everything_may_be_a_default(project: Path) -> None:
    components = {
        "executor": ComponentSpec(type="local", options={"max_parallel": 2}),
        "optimizer": ComponentSpec(type="random", options={"seed": 3}),
        "scheduler": ComponentSpec(type="batch", options={"batch_size": 4}),
    }
    values: dict[str, Any] = {"metric": "loss", "goal": "maximize", "timeout": 60.0, "max_failures": 9}
    in_file(
        "objective = 'math:exp'\nmetric = 'loss'\ngoal = 'maximize'\ntimeout = 60\nmax_failures = 9\n"
        "retry = {max_attempts = 3}\nresources = {cpu = 2}\nexecutor = {type = 'local', max_parallel = 2}\n"
        "optimizer = {type = 'random', options = {seed = 3}}\nscheduler = {type = 'batch', batch_size = 4}"
    )
    filed = SweepExperiment(search_space=X)
    in_file("")
    configure(
        objective="math:exp",
        executor=LocalExecutor(max_parallel=2),
        optimizer=RandomOptimizer(seed=3),
        scheduler=SynchronousBatchScheduler(batch_size=4),
        retry=3,
        resources=Resources(cpu=2),
        **values,
    )
    configured = SweepExperiment(search_space=X)
    assert filed._spec == configured._spec
    assert filed.objective == configured.objective == "math:exp"
    given = {name: getattr(filed._spec, name) for name in (*values, *components, "retry", "resources")}
    assert given == values | components | {
        "retry": RetryPolicy(max_attempts=3),
        "resources": Resources(cpu=2),
    }


def test_configured_again_only_what_is_given_changes_and_none_takes_it_back(project: Path) -> None:
    in_file("timeout = 1")
    configure(objective=train, timeout=2, max_failures=2)
    before = SweepExperiment(search_space=X)
    configure(timeout=None, max_failures=3)
    after = SweepExperiment(search_space=X)
    assert (before._spec.timeout, before._spec.max_failures) == (2, 2)
    assert (after._spec.timeout, after._spec.max_failures) == (1, 3)
    assert after.objective is train


def test_every_mistake_is_told_at_once_and_nothing_is_configured(project: Path) -> None:
    configure(objective=train)
    with pytest.raises(DefinitionError) as caught:
        Configure(
            objective=lambda a, b: 1,
            executor=LocalExecutor,
            scheduler="batch",
            goal="max",
            retry=0,
            timeout=-1,
            metrik="loss",
            seed=1,
        )
    assert str(caught.value).splitlines()[0] == "8 mistakes in configure:"
    for part in (
        "needs a, b, but it gets one argument",
        "executor is a class; call it: LocalExecutor()",
        "scheduler has to be an object such as AsynchronousScheduler(), got 'batch'",
        "goal: input should be 'maximize' or 'minimize', got 'max'",
        "retry.max_attempts: input should be greater than or equal to 1, got 0",
        "timeout: input should be greater than 0, got -1",
        "metrik is unknown; did you mean metric?",
        "seed is unknown",
    ):
        assert part in str(caught.value)
    assert SweepExperiment(search_space=X).objective is train


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "executor = {type = 'local', max_paralel = 2}",
            "executor: max_paralel is unknown; did you mean max_p",
        ),
        ("executor = {type = 'local', max_parallel = 0}", "executor: max_parallel has to be a whole number"),
        ("scheduler = 'ahsa'", "scheduler: unknown scheduler 'ahsa'; did you mean asha?"),
        ("optimizer = 'no_such_module:Mine'", "optimizer: no_such_module:Mine cannot be imported"),
        ("objective = 'no_such_module:train'", "No module named 'no_such_module'"),
        ("objective = 'absent.py:train'", "there is no file "),
        ("objective = 'train'", "objective: 'train' names nothing that can be imported"),
        ("goal = 'max'", "goal: input should be 'maximize' or 'minimize', got 'max'"),
        ("metrics = 'loss'", "metrics is unknown; did you mean metric?"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    in_file(text)
    with pytest.raises(DefinitionError) as caught:
        SweepExperiment(search_space=X)
    assert str(caught.value).startswith(f"[tool.metta-sweep] in {tmp_path}/pyproject.toml: ")
    assert message in str(caught.value)


def test_a_file_is_read_when_an_experiment_is_made_and_only_what_it_needs_is_made(project: Path) -> None:
    Path("pyproject.toml").write_text("[tool", "utf-8")
    configure(objective=train)
    with pytest.raises(DefinitionError, match="it cannot be read"):
        SweepExperiment(search_space=X)
    in_file("objective = 'no_such_module:train'\nexecutor = 'absent'")
    SweepExperiment(search_space=X, executor=LocalExecutor())


def test_a_missing_objective_is_told_with_the_three_ways_to_give_it(project: Path) -> None:
    with pytest.raises(DefinitionError, match="objective is missing") as caught:
        SweepExperiment(search_space=X)
    for way in (
        "the argument `objective`",
        "configure(objective=...)",
        "under [tool.metta-sweep] in pyproject",
    ):
        assert way in str(caught.value)


def test_a_package_may_configure_an_objective_of_its_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "configured_lab").mkdir()
    (project / "configured_lab/__init__.py").write_text(
        "from metta.sweep import configure\nconfigure(objective='configured_lab.digits:train')\nSCALE = 2\n",
        "utf-8",
    )
    (project / "configured_lab/digits.py").write_text(
        "from configured_lab import SCALE\ndef train(params): return {}\n", "utf-8"
    )
    monkeypatch.syspath_prepend(str(project))
    import_module("configured_lab")
    assert SweepExperiment(search_space=X).objective == "configured_lab.digits:train"
    with pytest.raises(DefinitionError, match="configure: objective: 'train' names nothing"):
        configure(objective="train")


@pytest.mark.parametrize("text", ["metric = 'score'", "goal = 'minimize'"])
def test_a_default_metric_or_goal_judges_a_bare_number(project: Path, text: str) -> None:
    with pytest.raises(DefinitionError, match="the objective returns a bare number"):
        SweepExperiment(bare, X)
    in_file(text)
    SweepExperiment(bare, X)


@pytest.mark.parametrize(
    ("text", "metric", "goal"),
    [
        ("metric = 'fuel'\ngoal = 'minimize'", "accuracy", "maximize"),
        ("metric = 'fuel'\ngoal = 'minimize'", "fuel", "minimize"),
        ("metric = 'fuel'\ngoal = 'minimize'", None, "minimize"),
        ("goal = 'minimize'", "accuracy", "minimize"),
    ],
)
def test_a_goal_is_not_taken_from_another_metric(
    project: Path, text: str, metric: str | None, goal: str
) -> None:
    in_file(text)
    assert SweepExperiment(train, X, metric=metric)._spec.goal == goal
    configure(metric=metric)
    assert SweepExperiment(train, X)._spec.goal == goal


def test_a_default_optimizer_may_hold_the_space(project: Path) -> None:
    configure(objective=train, optimizer=RandomOptimizer(X, seed=1))
    for _ in range(2):
        made = SweepExperiment()
        assert list(made._spec.search_space) == ["x"]
        assert made._spec.optimizer.options == {"seed": 1}
    assert list(SweepExperiment(search_space={"y": Uniform(0, 1)})._spec.search_space) == ["y"]


def test_what_a_file_names_in_scripts_is_found_from_its_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "mine.py").write_text("raise RuntimeError('imported')", "utf-8")
    in_file("objective = 'mine.py:train'\nscheduler = 'mine.py:Mine'")
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    made = SweepExperiment(search_space=X)
    assert made.objective == f"{project}/mine.py:train"
    assert made._spec.scheduler.type == f"{project}/mine.py:Mine"


def test_an_experiment_needs_no_more_than_an_optimizer_and_a_scheduler(project: Path) -> None:
    configure(objective=climb, executor=LocalExecutor(max_parallel=1))
    results = SweepExperiment(optimizer=RandomOptimizer(X), scheduler=ASHAScheduler(max_resource=3)).run(
        debug=True
    )
    assert len(results.trials) == 3
    assert results.best_metric == max(trial.params["x"] for trial in results.trials)


def test_defaults_travel_with_the_definition(hosted: Path) -> None:
    offset = 10
    configure(objective=lambda params: params["x"] + offset, goal="minimize", executor=LocalExecutor(1))
    results = SweepExperiment(search_space=X).run(2)
    assert 10 < results.best_metric == min(trial.params["x"] + 10 for trial in results.trials)


SCRIPT = """\
from pathlib import Path
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(params):
    return {"fuel": params["x"]}

sweep = SweepExperiment(search_space={"x": Uniform(0, 1)}, name="filed")
Path("pyproject.toml").write_text("")
sweep.run(budget=2)
"""


def test_a_script_runs_with_the_defaults_of_its_project_though_they_are_gone_later(hosted: Path) -> None:
    (hosted / "script.py").write_text(SCRIPT, "utf-8")
    in_file("objective = 'script.py:train'\ngoal = 'minimize'\nexecutor = {type = 'local', max_parallel = 1}")
    done = sweep("run", "script.py", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert (status["progress"]["goal"], status["progress"]["counts"]["completed"]) == ("minimize", 2)


def test_an_experiment_met_where_only_names_are_wanted_takes_its_defaults_when_it_is_run(
    project: Path,
) -> None:
    script = project / "script.py"
    script.write_text(SCRIPT.partition("Path(")[0], "utf-8")
    assert load(f"{script}:train")({"x": 1}) == {"fuel": 1}
    made: SweepExperiment = import_script(script).sweep
    with pytest.raises(DefinitionError, match="objective is missing"):
        made.run(1, debug=True)
    configure(objective=train)
    assert made.run(1, debug=True).final_performance.keys() == {"accuracy"}


def test_what_is_configured_can_travel_to_the_stages_of_an_experiment(project: Path) -> None:
    configure(objective=train, metric="accuracy", retry=3, executor=LocalExecutor(max_parallel=2))
    made = defaults.configured()
    assert json.loads(json.dumps(made)) == made
    defaults._configured.clear()
    with travelled(made):
        sweep = SweepExperiment(search_space=X)
        assert sweep.objective == f"{__name__}:train"
        assert sweep._spec.retry == RetryPolicy(max_attempts=3)
        assert sweep._spec.executor == ComponentSpec(type="local", options={"max_parallel": 2})
        assert defaults.configured() == made
    with pytest.raises(DefinitionError, match="objective is missing"):
        SweepExperiment(search_space=X)


def test_what_has_travelled_holds_in_threads_that_know_of_no_context(project: Path) -> None:
    found: list[str] = []

    def look() -> None:
        found.append(str(SweepExperiment(search_space=X).objective))

    with travelled({"objective": f"{__name__}:train", "metric": "accuracy"}, everywhere=True):
        thread = Thread(target=look)
        thread.start()
        thread.join()
    assert found == [f"{__name__}:train"]


def test_a_goal_that_was_said_for_another_metric_does_not_travel() -> None:
    configure(metric="loss2", goal="minimize")
    with travelled({"metric": "accuracy"}):
        assert defaults.configured() == {"metric": "accuracy"}
