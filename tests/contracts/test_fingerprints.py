import sys
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.fingerprints import fingerprint_of

CODE = """\
from collections import namedtuple
BUDGET = 10

class Model:
    def fit(self, x):
        return scaled(x)

def scaled(x):
    return x * 2

Pair = namedtuple("Pair", "x y")

def unused(x):
    return x

def train(params):
    pair = Pair(1, 2)
    models = [Model() for _ in range(3)]
    return {"accuracy": models[0].fit(params["x"])}
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Makes the objective of a module with some code."""

    def make(code: str) -> Any:
        name = f"edited_{len(list(tmp_path.iterdir()))}"  # whatever is cached goes by file and name
        path = tmp_path / f"{name}.py"
        path.write_text(code, "utf-8")
        spec = spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module.train

    return make


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("x * 2", "x * 3", True),
        ("range(3)", "range(4)", True),
        ("return scaled(x)", "return scaled(-x)", True),
        ("BUDGET = 10", "BUDGET = 20", False),
        ("    return x\n", "    return -x\n", False),
    ],
)
def test_what_an_objective_reaches_in_its_file_counts(
    made: Callable[[str], Any], old: str, new: str, changes: bool
) -> None:
    before = fingerprint_of(made(CODE))
    assert len(before) == 16
    assert (fingerprint_of(made(CODE.replace(old, new))) != before) == changes


def test_a_bound_argument_or_an_object_does_not_hide_the_code(made: Callable[[str], Any]) -> None:
    train = made(CODE)
    assert fingerprint_of(partial(train)) == fingerprint_of(train)
    edited = made(CODE.replace("x * 2", "x * 3")).__globals__["Model"]
    model = train.__globals__["Model"]
    assert fingerprint_of(model().fit) == fingerprint_of(model.fit)
    assert fingerprint_of(model().fit) != fingerprint_of(edited().fit)


def test_of_a_script_that_is_named_all_counts(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(CODE, "utf-8")
    before = fingerprint_of(f"{script}:train")
    script.write_text(CODE.replace("BUDGET = 10", "BUDGET = 20"), "utf-8")
    assert fingerprint_of(f"{script}:train") != before


def test_code_without_source_has_none() -> None:
    namespace: dict[str, Any] = {}
    exec("def train(params): return 1", namespace)
    assert fingerprint_of(namespace["train"]) == ""
    assert fingerprint_of(len) == ""
