"""Importing: scripts as modules, up to the experiment that they run, and what is said of missing names."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from metta.sweep.contracts.components import load
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.importing import GUARD, import_script, importing, is_importing

SWEEP = """
from metta.sweep import Uniform
from metta.sweep.experiments import SweepExperiment

def train(params):
    return {"accuracy": params["x"]}

sweep = SweepExperiment(train, {"x": Uniform(0, 1)}, name="scripted")
"""
UNGUARDED = f"{SWEEP}\nsweep.run(budget=2)\n\ndef below(params):\n    return 1.0\n"
GUARDED = (
    f'{SWEEP}\ndef below(params):\n    return 1.0\n\nif __name__ == "__main__":\n    sweep.run(budget=2)\n'
)


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of what a test imports stays."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def script(folder: Path, text: str, name: str = "tasks.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def problem(text: str) -> str:
    with pytest.raises(DefinitionError) as error:
        load(text)
    [problem] = error.value.problems
    return problem


@pytest.mark.parametrize("text", [UNGUARDED, GUARDED])
def test_a_script_gives_its_functions_and_runs_nothing(project: Path, text: str) -> None:
    path = script(project, text)
    assert load(f"{path}:train")({"x": 0.5}) == {"accuracy": 0.5}
    assert not (project / ".metta-sweep").exists()


@pytest.mark.parametrize(
    "call", ["sweep.start(budget=2)", "SweepExperiment.attach('scripted')", "sweep.run()"]
)
def test_each_call_that_needs_a_server_ends_the_import(project: Path, call: str) -> None:
    path = script(project, f"{SWEEP}\n{call}\nraise AssertionError\n")
    assert load(f"{path}:train")({"x": 0.5}) == {"accuracy": 0.5}


def test_the_import_ends_even_where_the_script_catches_exceptions(project: Path) -> None:
    guarded = "try:\n    sweep.run(budget=2)\nexcept Exception:\n    pass\nraise AssertionError\n"
    path = script(project, f"{SWEEP}\n{guarded}")
    assert load(f"{path}:train")({"x": 0.5}) == {"accuracy": 0.5}


def test_a_name_below_the_run_of_an_unguarded_script_is_told_of_the_guard(project: Path) -> None:
    path = script(project, UNGUARDED)
    assert problem(f"{path}:below") == f"{path}:below: there is no 'below' in {path}. {GUARD}"
    assert '`if __name__ == "__main__":`' in GUARD
    guarded = script(project, GUARDED, "guarded.py")
    assert load(f"{guarded}:below")({}) == 1.0


def test_a_name_that_is_just_wrong_is_told_the_nearest_one(project: Path) -> None:
    path = script(project, GUARDED)
    assert problem(f"{path}:trian").endswith(f"there is no 'trian' in {path}; did you mean train?")
    assert problem(f"{path}:zzz").endswith(f"there is no 'zzz' in {path}. Known: below, train")


def test_scripts_of_the_same_name_are_different_modules(tmp_path: Path) -> None:
    one = script(tmp_path / "one", "def train(trial): return 1")
    two = script(tmp_path / "two", "def train(trial): return 2")
    assert [load(f"{path}:train")(None) for path in (one, two, one)] == [1, 2, 1]


def test_a_script_is_imported_once_under_any_path_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path / "a", "thing = object()")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    things = {id(load(f"{text}:thing")) for text in (path, "a/tasks.py", "link/tasks.py", "a/../a/tasks.py")}
    assert len(things) == 1


def test_a_script_finds_its_neighbours(tmp_path: Path) -> None:
    script(tmp_path, "FACTOR = 3", "neighbour.py")
    path = script(tmp_path, "from neighbour import FACTOR\ndef train(trial): return FACTOR")
    assert load(f"{path}:train")(None) == 3


def test_classes_of_a_script_can_be_pickled_and_read_in_another_process(tmp_path: Path) -> None:
    path = script(tmp_path, "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int")
    write = f"import pickle; print(pickle.dumps(load({str(path)!r} + ':Point')(3)).hex())"
    read = f"import pickle; load({str(path)!r} + ':Point'); print(pickle.loads(bytes.fromhex(%r)))"
    assert printed(read % printed(write)) == "Point(x=3)"


def test_two_threads_that_import_a_script_at_once_get_the_same_whole_module(tmp_path: Path) -> None:
    path = script(tmp_path, "from time import sleep\nsleep(0.2)\nthing = object()")
    barrier = Barrier(2)

    def imported() -> int:
        barrier.wait()
        return id(load(f"{path}:thing"))

    with ThreadPoolExecutor(2) as threads:
        one, two = [threads.submit(imported) for _ in range(2)]
        assert one.result() == two.result()


def test_an_import_in_one_thread_does_not_end_the_run_in_another() -> None:
    with ThreadPoolExecutor(1) as thread, importing():
        assert is_importing()
        assert not thread.submit(is_importing).result()
    assert not is_importing()


def test_imports_that_overlap_in_threads_leave_nothing_behind() -> None:
    entered, left = Barrier(2), Barrier(2)

    def first() -> bool:
        with importing():
            entered.wait()
        left.wait()
        return is_importing()

    def second() -> bool:
        entered.wait()
        with importing():
            left.wait()
        return is_importing()

    with ThreadPoolExecutor(2) as threads:
        assert [future.result() for future in [threads.submit(first), threads.submit(second)]] == [
            False,
            False,
        ]


def test_a_script_that_failed_is_imported_anew(tmp_path: Path) -> None:
    path = script(tmp_path, "import nonesuch")
    assert problem(f"{path}:train") == (
        f"{path}:train cannot be imported: {path}:1: ModuleNotFoundError: No module named 'nonesuch'"
    )
    script(tmp_path, "def train(trial): return 1")
    assert load(f"{path}:train")(None) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 0", "{path}:1: ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError: invalid syntax (tasks.py, line 1)"),
        ("import sys\nsys.exit(3)", "{path}:2: SystemExit: 3"),
    ],
)
def test_what_an_import_raises_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    path = script(tmp_path, text)
    assert problem(f"{path}:train") == f"{path}:train cannot be imported: {expected.format(path=path)}"


def test_a_module_that_runs_a_sweep_at_import_is_told_of_the_guard(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(project, UNGUARDED, "unguarded_module.py")
    monkeypatch.syspath_prepend(project)
    assert problem("unguarded_module:train") == (
        f"unguarded_module:train cannot be imported: its module runs a sweep when it is imported. {GUARD}"
    )


@pytest.mark.parametrize("name", ["nowhere.py", "folder.py"])
def test_a_script_that_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(DefinitionError, match=f"there is no script '.*{name}'"):
        import_script(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nonesuch:f", "nonesuch:f cannot be imported: ModuleNotFoundError: No module named 'nonesuch'"),
        ("sys:foo", "sys:foo: there is no 'foo' in sys"),
        ("metta:foo", "metta:foo: there is no 'foo' in metta"),
        ("pathlib:Path.foo", "pathlib:Path.foo: there is no 'Path.foo' in "),
    ],
)
def test_what_a_module_lacks_is_told(text: str, expected: str) -> None:
    assert problem(text).startswith(expected)


def test_attributes_of_attributes_are_found() -> None:
    assert load("pathlib:Path.home") == Path.home


def printed(code: str) -> str:
    """What a new process prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    preamble = "from metta.sweep.contracts.components import load; "
    return subprocess.check_output(
        [sys.executable, "-c", preamble + code], env=environment, text=True
    ).strip()
