"""Importing: scripts as modules, without running the experiment that they run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from metta.sweep.contracts.errors import DefinitionError, DefinitionReached

GUARD = (
    "If it stands below the call of run(), put that call at the end of the script, under"
    ' `if __name__ == "__main__":`'
)

_importing = False


def is_importing() -> bool:
    """Whether only definitions are wanted: ``run()``, ``start()`` and ``attach()`` end the import."""
    return _importing


@contextmanager
def importing() -> Iterator[None]:
    """Within it, the first call that would run an experiment raises ``DefinitionReached``."""
    global _importing
    before, _importing = _importing, True
    try:
        yield
    finally:
        _importing = before


def import_script(path: Path) -> ModuleType:
    """Import a script by its path, up to the experiment that it runs.

    Args:
        path: The script. Its folder is on ``sys.path`` as if it were started.

    Raises:
        DefinitionError: When there is no such file.
    """
    path = path.resolve()
    # by its path: two scripts of the same name are two modules, in every process the same
    name = f"{path.stem}_{blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise DefinitionError([f"there is no script {str(path)!r}"], "the reference")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = sys.modules[name] = module_from_spec(spec)  # registered, so that pickle finds it
    try:
        with importing():
            spec.loader.exec_module(module)
    except DefinitionReached:
        pass  # what stands above the call is defined, and that is what was wanted
    except BaseException:
        del sys.modules[name]
        raise
    return module


def attribute(module: ModuleType, name: str, text: str) -> Any:
    """What a module calls by a dotted name.

    Raises:
        DefinitionError: When there is nothing of that name; says what often causes that in scripts.
    """
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            problem = f"{text}: there is no {name!r} in {module.__file__}. {GUARD}"
            raise DefinitionError([problem], "the reference")
        found = getattr(found, part)
    return found
