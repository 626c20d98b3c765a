"""Scripts: finding the experiment that a file would run."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from metta.sweep.contracts.errors import DefinitionError, DefinitionReached, nearest
from metta.sweep.contracts.importing import importing
from metta.sweep.experiments.sweep import SweepExperiment


def experiment_in(
    path: Path, name: str | None = None, argv: tuple[str, ...] = ()
) -> tuple[SweepExperiment, dict[str, Any]]:
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
        scripts = [str(file) for file in path.parent.glob("*.py")]
        raise DefinitionError([f"there is no file {str(path)!r}{nearest(str(path), scripts)}"], "the script")
    module, reached = _executed(path.resolve(), argv)
    if name is not None:
        found = getattr(module, name, None)
        if isinstance(found, SweepExperiment):
            return found, {}
        problem = f"{path} has no experiment called {name!r}{nearest(name, _names(module))}"
        raise DefinitionError([problem], "the script")
    if reached is None:
        return _only_one(module, path), {}
    if isinstance(reached.experiment, SweepExperiment):
        return reached.experiment, reached.options
    problem = f"{path} attaches to {reached.options.get('name')}; `sweep attach` does that"
    raise DefinitionError([problem], "the script")


def _executed(path: Path, argv: tuple[str, ...]) -> tuple[ModuleType, DefinitionReached | None]:
    module = ModuleType("__main__")
    module.__file__ = str(path)
    sys.modules["__main__"] = module  # where pickle and inspect look for what the script defines
    sys.argv = [str(path), *argv]
    sys.path.insert(0, str(path.parent))
    try:
        with importing("experiment"):
            exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    except DefinitionReached as reached:
        return module, reached
    return module, None


def _only_one(module: ModuleType, path: Path) -> SweepExperiment:
    """A script that only defines an experiment need not run it."""
    names = _names(module)
    if len(names) == 1:
        found: SweepExperiment = getattr(module, names[0])
        return found
    if names:
        problem = f"it runs none of its experiments; say which: {' or '.join(f'{path}:{n}' for n in names)}"
    else:
        problem = "it neither runs nor defines a SweepExperiment"
    raise DefinitionError([problem], str(path))


def _names(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, SweepExperiment)]
