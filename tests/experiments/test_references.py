"""How functions, classes and pipelines are named so that other processes find them again."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from metta.sweep.contracts.importing import import_script
from metta.sweep.experiments.base import Pipeline
from metta.sweep.experiments.references import reference_of, reference_of_variable

here = Pipeline()

SCRIPT = """\
from metta.sweep.experiments import Experiment
from metta.sweep.experiments.base import Pipeline

def train(x):
    return x

class Refine(Experiment):
    def pipeline(self):
        return Pipeline().stage("train", train)

pipeline = Pipeline().stage("train", train)

if True:
    nested, (second, *_) = pipeline, (Pipeline(), 1)

if __name__ == "__main__":
    guarded = Pipeline()

    class Guarded(Refine):
        pass
"""


def as_main(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script that is being run."""
    path.write_text(SCRIPT, "utf-8")
    module = ModuleType("__main__")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(SCRIPT, path, "exec"), module.__dict__)
    return module


def test_what_a_stage_process_has_imported_from_a_script_is_named_by_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.py"
    path.write_text(SCRIPT, "utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = import_script(path)
    assert module.train.__module__ != "digits"
    assert str(reference_of(module.train)) == f"{path}:train"
    assert str(reference_of(module.Refine)) == f"{path}:Refine"


def test_a_script_that_runs_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "digits.py"
    main = as_main(path, monkeypatch)
    assert str(reference_of(main.Refine)) == f"{path}:Refine"
    assert str(reference_of_variable(main.pipeline)) == f"{path}:pipeline"
    assert str(reference_of_variable(main.second)) == f"{path}:second"


def test_what_an_import_would_not_bind_goes_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = as_main(tmp_path / "digits.py", monkeypatch)
    assert reference_of(main.Guarded).kind == "value"
    assert reference_of_variable(main.guarded) is None
    assert reference_of_variable(Pipeline()) is None


def test_a_pipeline_is_found_in_the_module_that_runs_it() -> None:
    assert str(reference_of_variable(here)) == f"{__name__}:here"
