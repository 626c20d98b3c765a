"""The public names: where they are imported from, what that costs, and what a shell shows of them."""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PUBLIC = {
    "metta.sweep": {
        "BadMetric",
        "Budget",
        "BudgetSpent",
        "Choice",
        "Constant",
        "DefinitionError",
        "Infeasible",
        "Integer",
        "Job",
        "LogNormal",
        "LogUniform",
        "LogitUniform",
        "Normal",
        "Ordinal",
        "Pow2",
        "Observation",
        "PipelineDefinitionError",
        "Resources",
        "RetryPolicy",
        "SearchSpace",
        "StageFailed",
        "SweepError",
        "SweepFailed",
        "Trial",
        "TrialInterrupted",
        "Uniform",
        "configure",
        "current_stage",
        "current_trial",
        "exponential",
        "load_observations",
    },
    "metta.sweep.executors": {"Executor", "LocalExecutor", "WorkerExecutor"},
    "metta.sweep.experiments.base": {"Experiment", "HookSet", "Merge", "Pipeline", "Record", "SweepContext"},
    "metta.sweep.optimizers": {"BayesianOptimizer", "OptunaOptimizer", "Optimizer", "RandomOptimizer"},
    "metta.sweep.experiments": {
        "CurriculumContext",
        "CurriculumExperiment",
        "Experiment",
        "Results",
        "SweepContext",
        "SweepExperiment",
        "Task",
    },
    "metta.sweep.schedulers": {
        "ASHAScheduler",
        "AsynchronousScheduler",
        "BatchScheduler",
        "MedianStoppingScheduler",
        "Scheduler",
        "SynchronousBatchScheduler",
    },
    "metta.sweep.testing": {
        "AttemptRunner",
        "AttemptSubject",
        "ExecutorSubject",
        "TrialWorkflows",
        "attempt_conformance",
        "executor_conformance",
    },
    "metta.sweep.worker": {"MettaSweepPlugin"},
}
"""Renaming or moving one of these breaks programs of users."""

HEAVY = {"numpy", "optuna", "rich", "scipy", "sklearn", "temporalio", "torch", "typer"}

each = pytest.mark.parametrize("package", PUBLIC)


@each
def test_every_public_name_is_there_and_no_other(package: str) -> None:
    module = import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    namespace: dict[str, object] = {}
    exec(f"from {package} import *", namespace)
    assert set(namespace) - {"__builtins__"} == PUBLIC[package]


@each
def test_a_shell_offers_the_names_before_they_are_used(package: str) -> None:
    assert set(dir(import_module(package))) >= PUBLIC[package]


@each
def test_type_checkers_see_the_same_names_from_the_same_places(package: str) -> None:
    module = import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    seen = {}
    for statement in checked.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname == alias.name  # re-exported, in the eyes of strict checkers
            seen[alias.name] = getattr(import_module(str(statement.module)), alias.name)
    assert seen == {name: getattr(module, name) for name in module.__all__}


@each
def test_a_name_that_is_not_there_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonesuch'"):
        import_module(package).nonesuch  # noqa: B018 - reading it is what is tested


def modules_after(code: str) -> set[str]:
    """What a new process has imported after running code."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", f"{code}\nimport sys, json; print(json.dumps(list(sys.modules)))"]
    return set(json.loads(subprocess.check_output(command, env=environment)))


@pytest.mark.parametrize(
    "package", ["metta.sweep", "metta.sweep.executors", "metta.sweep.optimizers", "metta.sweep.schedulers"]
)
def test_a_package_alone_imports_nothing_but_itself(package: str) -> None:
    assert not modules_after(f"import {package}") & {*HEAVY, "asyncio", "pydantic"}


def test_everything_that_defines_a_sweep_is_light() -> None:
    names = [
        f"from {package} import {name}"
        for package in PUBLIC
        if package != "metta.sweep.worker"
        # whoever wants these wants Optuna, or has a client of Temporal's
        for name in sorted(PUBLIC[package] - {"OptunaOptimizer", "TrialWorkflows"})
    ]
    define = (
        "def train(params): return {'loss': params['x']}\n"
        "sweep = SweepExperiment(train, {'x': Uniform(0, 1)}, optimizer=RandomOptimizer(),"
        " scheduler=BatchScheduler(4), executor=LocalExecutor(2))"
    )
    assert not modules_after("\n".join([*names, define])) & HEAVY


def test_the_namespace_is_shared_with_other_packages() -> None:
    import metta

    assert getattr(metta, "__file__", None) is None
