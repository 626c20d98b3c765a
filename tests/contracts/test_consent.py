"""What a worker lets be named: asked where names become code, before anything is imported."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from metta.sweep.contracts.components import ComponentSpec, create, load
from metta.sweep.contracts.consent import EVERYTHING, Consent, check_definition, consenting
from metta.sweep.contracts.errors import DefinitionError, Refused
from metta.sweep.contracts.models import parse
from metta.sweep.contracts.raised import details_of, error_of
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.pipeline.classes import Classes, Unfindable
from metta.sweep.pipeline.plain import FORMS
from metta.sweep.runners.objective import by_value

LAB = Consent(modules=("my_lab",))

TRAINING = """
import os
import subprocess
from dataclasses import make_dataclass
from functools import cache, partial, wraps
from os import system

from my_labels import Called, foreign, foreign_cached, foreign_half, foreign_model, made_elsewhere
from my_labels import half_of_python

def train(params):
    return 1.0

class Model:
    class Part:
        pass

    def fit(self, params):
        return 2.0

def logged(function):
    @wraps(function)
    def inner(params):
        return function(params)
    return inner

wrapped = logged(train)
closed = made_elsewhere()
half = partial(train)
model = Model()
cached = cache(train)
Batch = make_dataclass("Batch", ["rows"])

class Calling:
    def __call__(self, params):
        return 3.0

calling = Calling()

class Settings(dict):
    pass

settings = Settings()
"""

LABELS = """
import subprocess
from functools import cache, partial

print("labels were imported")

def foreign(params):
    return 0.0

def made_elsewhere():
    def inner(params):
        return 0.0
    return inner

class Called:
    def __call__(self, params):
        return 0.0

foreign_model = Called()
foreign_half = partial(foreign, 1)
foreign_cached = cache(foreign)
half_of_python = partial(subprocess.run, shell=True)
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the user's, and one that is not registered, whose name begins in the same way."""
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "__init__.py").touch()
    (tmp_path / "my_lab" / "training.py").write_text(TRAINING, "utf-8")
    (tmp_path / "my_labels.py").write_text(LABELS, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("my_lab", "my_lab.training", "my_labels"):
        sys.modules.pop(name, None)


@contextmanager
def refused() -> Iterator[list[str]]:
    """What is refused within it."""
    problems: list[str] = []
    with pytest.raises(Refused) as caught:
        yield problems
    problems += caught.value.problems


@pytest.mark.parametrize(
    ("module", "is_admitted"),
    [
        ("my_lab", True),
        ("my_lab.training", True),
        ("my_lab.deep.er", True),
        ("my_labels", False),
        ("my_lab_2.training", False),
        ("my", False),
        ("other.my_lab", False),
        ("metta.sweep.optimizers.random", True),
        ("metta.sweeper", False),
        ("metta", False),
    ],
)
def test_prefixes_are_whole_names(module: str, is_admitted: bool) -> None:
    assert LAB.admits(module) is is_admitted


def test_a_module_registers_nothing_beside_it() -> None:
    consent = Consent(modules=("my_lab.training",))
    assert not consent.admits("my_lab")
    assert not consent.admits("my_lab.secrets")


@pytest.mark.parametrize(
    ("modules", "is_admitted"),
    [
        ([], False),
        (["metta.sweep"], False),  # says what holds anyway
        (["my_lab"], False),
        (["metta.sweep.testing"], True),
        (["metta.sweep.testing.behaviours"], True),
        (["*"], True),
    ],
)
def test_what_puts_executors_to_the_test_has_to_be_registered(modules: list[str], is_admitted: bool) -> None:
    consent = Consent(modules=tuple(modules))
    assert consent.admits("metta.sweep.testing.behaviours") is is_admitted
    assert consent.admits("metta.sweep.testings")
    refusal = consent.refusal("metta.sweep.testing.behaviours:wordy")
    wanted = " ".join([*modules, "metta.sweep.testing"])
    assert (f"register it with `sweep worker {wanted}`, or" in refusal) is not is_admitted


@pytest.mark.parametrize("wrong", ["my_lab/training.py", "my-lab", "", "my_lab.*", "my_lab:train"])
def test_what_is_no_module_cannot_be_registered(wrong: str) -> None:
    with pytest.raises(DefinitionError, match="write a module such as my_lab"):
        parse(Consent, {"modules": [wrong]}, "the worker")


def test_a_refusal_names_what_is_registered_and_how_to_register_more(lab: Path) -> None:
    with consenting(LAB), refused() as problems:
        load("my_labels:foreign")
    assert problems == [
        "my_labels:foreign is not registered with this worker, which knows metta.sweep, my_lab: register it"
        " with `sweep worker my_lab my_labels`, or with modules=['my_lab', 'my_labels'] of MettaSweepPlugin"
    ]


def test_nothing_is_imported_before_it_is_asked(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with consenting(LAB), refused():
        load("my_labels:foreign")
    assert "my_labels" not in sys.modules
    assert capsys.readouterr().out == ""
    assert load("my_labels:foreign")({}) == 0.0  # who holds no consent imports what he likes
    assert capsys.readouterr().out == "labels were imported\n"


@pytest.mark.parametrize(
    "name",
    [
        *("train", "Model", "Model.Part", "wrapped", "closed", "half", "model.fit", "cached", "calling"),
        *("Batch", "settings", "settings.update"),
    ],
)
def test_what_a_registered_module_defines_is_found(lab: Path, name: str) -> None:
    with consenting(LAB):
        assert load(f"my_lab.training:{name}") is not None


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("os.system", "os"),
        ("os", "os"),
        ("subprocess.run", "subprocess"),
        ("foreign", "my_labels:foreign"),
        ("partial", "functools:partial"),
        ("train.__globals__.update", "builtins:dict.update"),
        ("train.__class__", "builtins:function"),
        ("train.__call__", "builtins:function.__call__"),
        ("system", "posix:system"),
        ("foreign_model", "my_labels:Called"),
        ("foreign_half", "my_labels:foreign"),
        ("foreign_cached", "my_labels:foreign"),
        ("half_of_python", "subprocess:run"),
        ("half.func.__globals__.pop", "builtins:dict.pop"),
    ],
)
def test_a_registered_module_is_no_way_to_what_it_has_imported(lab: Path, name: str, home: str) -> None:
    with consenting(LAB), refused() as problems:
        load(f"my_lab.training:{name}")
    assert problems[0].startswith(
        f"my_lab.training:{name}, which is {home}, is not registered with this worker"
    )


@pytest.mark.parametrize("name", ["system", "train.__globals__.update", "half_of_python", "os"])
def test_nobody_is_told_to_register_what_opens_the_machine(lab: Path, name: str) -> None:
    with consenting(LAB), refused() as problems:
        load(f"my_lab.training:{name}")
    assert problems[0].endswith(
        " is not registered with this worker, which knows metta.sweep, my_lab: it is a part of Python, so"
        " name what uses it in a module that is registered"
    )


def test_a_script_needs_consent(tmp_path: Path) -> None:
    script = tmp_path / "lone.py"
    script.write_text("import os\nprint('imported')\ndef train(params):\n    return 1.0\n", "utf-8")
    with consenting(LAB), refused() as problems:
        load(f"{script}:train")
    assert problems == [
        f"{script}:train is in the script lone.py, and this worker takes no scripts: put it into a module"
        " that the worker registers, or allow that with `sweep worker --allow scripts`, or with scripts=True"
        " of MettaSweepPlugin"
    ]
    with consenting(Consent(scripts=True)):
        assert load(f"{script}:train")({}) == 1.0


def test_code_by_value_needs_consent(tmp_path: Path) -> None:
    with consenting(LAB), refused() as problems:
        by_value(tmp_path / "missing", "the objective")  # it is not even looked for
    assert problems == [
        "the objective was sent by value, and this worker takes no code by value: put it into a module that"
        " the worker registers, or allow that with `sweep worker --allow by-value`, or with by_value=True of"
        " MettaSweepPlugin"
    ]


def test_all_that_a_definition_names_is_refused_at_once() -> None:
    references = ["other:train", "random", "more.schedulers:Mine", "my_lab:Executor", None]
    with consenting(LAB), refused() as problems:
        check_definition(references, ["rm", "-r", "x"], "the sweep digits")
    assert [problem.split(" is ")[0] for problem in problems] == [
        "'rm -r x'",
        "other:train",
        "more.schedulers:Mine",
    ]


def test_components_within_components_are_asked_for_too(lab: Path) -> None:
    sampler = ComponentSpec(type="optuna", options={"sampler": {"pickle": "gASVCgAAAAAAAACMBmhlbGxvlC4="}})
    with consenting(LAB), refused() as problems:
        create(Optimizer, sampler)
    assert problems[0].startswith("the sampler was sent by value")
    with consenting(LAB), refused() as problems:
        create(Optimizer, ComponentSpec(type="optuna", options={"sampler": "my_labels:foreign"}))
    assert problems[0].startswith("my_labels:foreign is not registered")


def test_classes_of_packed_values_are_asked_for_even_where_they_are_imported(lab: Path) -> None:
    assert "subprocess" in sys.modules
    with consenting(LAB):
        assert Classes().find("my_lab.training:Model").__name__ == "Model"
        with refused() as problems:
            Classes().find("subprocess:Popen")
        assert problems[0].startswith("subprocess:Popen is not registered with this worker")
        with pytest.raises(Unfindable):  # as before: its name may lead to something again
            Classes().find("my_lab.training:Gone")


def test_types_that_values_consist_of_need_no_registration() -> None:
    with consenting(LAB):
        for kind in (int, str, dict, *(form.kind for form in FORMS)):
            name = f"{kind.__module__}:{kind.__qualname__}"
            assert Classes().find(name) is kind, name


def test_everything_is_what_ones_own_worker_takes(lab: Path) -> None:
    with consenting(EVERYTHING):
        assert load("my_labels:foreign")({}) == 0.0
        assert load("os:system") is not None
        check_definition(["value:abc:train", "x.py:train", "any.thing:at_all"], ["true"], "the sweep")


def test_a_consent_holds_in_its_own_thread_alone(lab: Path) -> None:
    found: list[object] = []
    with consenting(LAB):
        beside = Thread(target=lambda: found.append(load("my_labels:foreign")))
        beside.start()
        beside.join()
    assert len(found) == 1


def test_a_refusal_is_raised_again_where_it_is_told() -> None:
    error = Refused(["it is not registered"], "the sweep digits")
    [details] = details_of(error)
    again = error_of("Refused", [details.model_dump()])
    assert isinstance(again, Refused)
    assert str(again) == str(error)
