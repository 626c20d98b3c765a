"""Scripts: finding the experiment that a file would run."""

import sys
from pathlib import Path
from types import ModuleType

from metta.sweep.contracts.errors import DefinitionError, DefinitionReached
from metta.sweep.contracts.importing import importing
from metta.sweep.experiments.sweep import SweepExperiment


def experiment_in(
    path: Path, name: str | None = None, argv: tuple[str, ...] = ()
) -> tuple[SweepExperiment, dict[str, object]]:
    """The experiment that a script runs first, or the one it calls ``name``.

    The script is run like a program, up to its first ``run()``, ``start()`` or ``attach()``.

    Args:
        path: The script.
        name: Which of its variables holds the experiment; None takes the one it runs.
        argv: Arguments for the script.

    Returns:
        The experiment, and the arguments of the call that was met.

    Raises:
        DefinitionError: When there is no such file or no such experiment.
    """
    if not path.is_file():
        raise DefinitionError([f"there is no file {str(path)!r}"], "the script")
    module, reached = _executed(path.resolve(), argv)
    if name is not None:
        found = getattr(module, name, None)
        return _checked(found, f"{path} has no experiment called {name!r}{_others(module)}"), {}
    if reached is None:
        return _only_one(module, path), {}
    return _checked(reached.experiment, f"{path} runs no SweepExperiment"), reached.options


def _executed(path: Path, argv: tuple[str, ...]) -> tuple[ModuleType, DefinitionReached | None]:
    module = ModuleType("__main__")
    module.__file__ = str(path)
    sys.modules["__main__"] = module  # where pickle and inspect look for what the script defines
    sys.argv = [str(path), *argv]
    sys.path.insert(0, str(path.parent))
    try:
        with importing():
            exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except DefinitionReached as reached:
        return module, reached
    return module, None


def _only_one(module: ModuleType, path: Path) -> SweepExperiment:
    """A script that only defines an experiment need not run it."""
    found = [value for value in vars(module).values() if isinstance(value, SweepExperiment)]
    if len(found) == 1:
        return found[0]
    problem = f"{path} neither runs an experiment nor defines just one{_others(module)}"
    raise DefinitionError([problem], "the script")


def _checked(found: object, problem: str) -> SweepExperiment:
    if not isinstance(found, SweepExperiment):
        raise DefinitionError([problem], "the script")
    return found


def _others(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, SweepExperiment)]
    return f"; it defines {', '.join(names)}" if names else ""
