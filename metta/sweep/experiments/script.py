"""Scripts: finding the experiment that a file would run."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from metta.sweep.contracts.errors import DefinitionError, DefinitionReached, nearest
from metta.sweep.contracts.importing import importing
from metta.sweep.experiments.experiment import Experiment
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.pipeline.builder import Pipeline

Runnable: TypeAlias = SweepExperiment | Experiment | Pipeline[Any]
KINDS = (SweepExperiment, Experiment, Pipeline)


def experiment_in(
    path: Path,
    name: str | None = None,
    argv: tuple[str, ...] = (),
    fields: Mapping[str, Any] | None = None,
) -> tuple[Runnable, dict[str, Any]]:
    """The experiment that a script runs first, or the one it calls ``name``.

    The script is run like a program, up to its first ``run()``, ``start()`` or ``attach()``.

    Args:
        path: The script.
        name: Which of its variables holds the experiment, or which of its classes is one; None takes the
            one it runs.
        argv: Arguments for the script.
        fields: Fields of the experiment that are to have other values.

    Returns:
        The experiment, and the arguments of the call that was met.

    Raises:
        DefinitionError: When there is no such file, no such experiment, or it has no such fields.
    """
    if not path.is_file():
        scripts = [str(file) for file in path.parent.glob("*.py") if file.is_file()]
        raise DefinitionError([f"there is no file {str(path)!r}{nearest(str(path), scripts)}"], "the script")
    module, reached = _executed(path.resolve(), argv)
    found, options = _found(module, reached, path, name)
    return _with_fields(found, fields or {}), options


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


def _found(
    module: ModuleType, reached: DefinitionReached | None, path: Path, name: str | None
) -> tuple[Runnable | type[Experiment], dict[str, Any]]:
    if name is not None:
        found: Any = getattr(module, name, None)
        if isinstance(found, KINDS) or _is_experiment_class(found):
            return found, {}
        problem = f"{path} has no experiment called {name!r}{nearest(name, _names(module))}"
        raise DefinitionError([problem], "the script")
    if reached is None:
        return _only_one(module, path), {}
    if isinstance(reached.experiment, KINDS):
        return reached.experiment, reached.options
    problem = f"{path} attaches to {reached.options.get('name')}; `sweep attach` does that"
    raise DefinitionError([problem], "the script")


def _only_one(module: ModuleType, path: Path) -> Runnable | type[Experiment]:
    """A script that only defines an experiment need not run it."""
    names = _names(module)
    if len(names) == 1:
        found: Runnable | type[Experiment] = getattr(module, names[0])
        return found
    if names:
        problem = f"it runs none of its experiments; say which: {' or '.join(f'{path}:{n}' for n in names)}"
    else:
        problem = "it neither runs nor defines an experiment"
    raise DefinitionError([problem], str(path))


def _names(module: ModuleType) -> list[str]:
    """What a script calls its experiments; classes that it only imports are those of others."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, KINDS) or (_is_experiment_class(value) and value.__module__ == "__main__")
    ]


def _is_experiment_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Experiment) and value is not Experiment


def _with_fields(found: Runnable | type[Experiment], fields: Mapping[str, Any]) -> Runnable:
    if isinstance(found, type):
        return found(**fields)
    if not fields:
        return found
    if isinstance(found, Experiment):
        return type(found)(**{**found.fields, **fields})
    problem = f"{', '.join(fields)} cannot be set: only an Experiment has fields, and it is a"
    raise DefinitionError([f"{problem} {type(found).__name__}"], "--set")
