import signal
from pathlib import Path
from textwrap import dedent

import cloudpickle
import psutil
import pytest

from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.events import Completed
from tests.runners.driving import Driver, are_gone, attempt, code_here, driving

SWEEP = 'SweepExperiment(train, {"x": Uniform(0, 1)}, metric="loss")'
UNGUARDED = f"""
    from metta.sweep import Uniform
    from metta.sweep.experiments import SweepExperiment

    def train(params):
        return {{"loss": params["x"]}}

    {SWEEP}.run(budget=3)

    def below(params):
        return {{"loss": 0.0}}
"""
GUARDED = UNGUARDED.replace(f"{SWEEP}.run", f'if __name__ == "__main__":\n        {SWEEP}.run')


def refused(driver: Driver) -> DefinitionError:
    """The error that the pool raises when its first attempt cannot begin."""
    driver.start(attempt())
    with pytest.raises(DefinitionError) as raised:
        driver.next()
    return raised.value


@pytest.fixture
def write(project: Path) -> "Writer":
    return Writer(project)


class Writer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(dedent(text))
        return path


@pytest.mark.parametrize("name", ["train", "below"])
def test_a_function_of_a_guarded_script_is_found_wherever_it_stands(name: str, write: Writer) -> None:
    script = write("script.py", GUARDED)
    with driving(code_here(f"{script}:{name}")) as driver:
        assert isinstance(driver.run(attempt(x=0.5))[0], Completed)


def test_a_script_that_runs_its_sweep_unguarded_is_imported_up_to_there(write: Writer) -> None:
    script = write("script.py", UNGUARDED)
    with driving(code_here(f"{script}:train")) as driver:
        assert isinstance(driver.run(attempt(x=0.5))[0], Completed)
    with driving(code_here(f"{script}:below")) as driver:
        assert '`if __name__ == "__main__":`' in str(refused(driver))


def test_a_script_finds_its_neighbours_as_if_it_were_started(write: Writer) -> None:
    write("neighbour.py", "LOSS = 0.25")
    script = write("script.py", "from neighbour import LOSS\ndef train(params): return {'loss': LOSS}\n")
    code = Code(objective=f"{script}:train")
    with driving(code) as driver:
        assert driver.run(attempt())[0].model_dump()["metrics"] == {"loss": 0.25}


def test_a_function_by_value_brings_what_it_refers_to(project: Path) -> None:
    offset = 0.25
    value = project / "value.pkl"
    value.write_bytes(cloudpickle.dumps(lambda params: {"loss": params["x"] + offset}))
    with driving(Code(objective="value:0:<lambda>", value=str(value))) as driver:
        assert driver.run(attempt(x=0.5))[0].model_dump()["metrics"] == {"loss": 0.75}


def test_a_value_that_cannot_be_loaded_is_told(project: Path) -> None:
    value = project / "value.pkl"
    value.write_bytes(b"nonsense")
    with driving(Code(objective="value:0:train", value=str(value))) as driver:
        assert "sent by value cannot be loaded: UnpicklingError" in str(refused(driver))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "mine.py:1: ZeroDivisionError"),
        ("def train(:", "SyntaxError"),
        ("def other(params): pass", "there is no 'train'"),
        ("train = 3", "the objective 3 cannot be called"),
        ("def train(): return 1", "the objective train takes no argument"),
        ("def train(a, b): return 1", "needs a, b, but it gets one argument"),
        ("import sys; sys.exit('not today')", "SystemExit: not today"),
        ("import os; os._exit(7)", "importing it ends the process: the process exited with code 7"),
        ("import ctypes; ctypes.string_at(0)", "Segmentation fault"),
    ],
)
def test_an_objective_that_cannot_be_loaded_is_told_with_its_reason(
    text: str, told: str, write: Writer
) -> None:
    write("mine.py", text)
    with driving(code_here("mine:train")) as driver:
        assert told in str(refused(driver))


def test_a_working_directory_that_is_gone_is_told(project: Path) -> None:
    code = code_here("mine:train").model_copy(update={"cwd": str(project / "gone")})
    with driving(code) as driver:
        assert "No such file or directory" in str(refused(driver))


def test_a_process_that_somebody_kills_while_it_loads_is_replaced_as_often_as_that_happens(
    write: Writer,
) -> None:
    write(
        "mine.py",
        f"""
        import os
        from pathlib import Path
        Path("loads").open("a").write("x")
        if Path("loads").stat().st_size < 4:
            os.kill(os.getpid(), {int(signal.SIGKILL)})
        def train(params): return {{"loss": 1.0}}
        """,
    )
    with driving(code_here("mine:train")) as driver:
        assert isinstance(driver.run(attempt())[0], Completed)


def test_results_that_come_beside_an_objective_that_broke_are_told_first(write: Writer) -> None:
    mine = write("mine.py", "def train(params): return {'loss': 1.0}")
    with driving(code_here("mine:train"), slots=2) as driver:
        driver.run(attempt(0))
        mine.write_text("def train(:")
        driver.start(attempt(1))
        driver.start(attempt(2))
        assert are_gone([max(psutil.Process().children(), key=psutil.Process.create_time).pid])
        [end] = driver.pool.wait(None)
        assert (end.trial, end.type) == (1, "completed")
        with pytest.raises(DefinitionError, match="SyntaxError"):
            driver.pool.wait(None)
