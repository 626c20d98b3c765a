"""Importing: scripts as modules, without running the experiment that they run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Literal

from metta.sweep.contracts.consent import check_found
from metta.sweep.contracts.errors import DefinitionError, DefinitionReached, nearest
from metta.sweep.contracts.references import Reference

GUARD = (
    "If it stands below the call of run(), put that call at the end of the script, under"
    ' `if __name__ == "__main__":`'
)

_importing: ContextVar[Literal["names", "experiment"] | None] = ContextVar("importing", default=None)
"""Each thread has its own: sweeps of one worker import side by side."""

_one_at_a_time = RLock()

_cut: set[str] = set()
"""Scripts whose import ended at the experiment that they run."""


def is_importing() -> bool:
    """Whether only definitions are wanted: ``run()``, ``start()`` and ``attach()`` end the import."""
    return _importing.get() is not None


def is_importing_names() -> bool:
    """Whether no experiment that is met will be run: something else of its module is wanted."""
    return _importing.get() == "names"


@contextmanager
def importing(wanted: Literal["names", "experiment"] = "names") -> Iterator[None]:
    """Within it, the first call that would run an experiment raises ``DefinitionReached``.

    Args:
        wanted: Names that the code defines, or the experiment that it would run.
    """
    token = _importing.set(wanted)
    try:
        yield
    finally:
        _importing.reset(token)


def import_script(path: Path) -> ModuleType:
    """Import a script by its path, up to the experiment that it runs.

    Args:
        path: The script. Its folder is on ``sys.path`` as if it were started.

    Raises:
        DefinitionError: When there is no such file.
    """
    path = path.resolve()
    name = module_name(path)
    with _one_at_a_time:  # nobody is to find a module that another thread has imported half
        return sys.modules[name] if name in sys.modules else _imported(path, name)


def module_name(script: Path) -> str:
    """What a script, named by its absolute path, is called as a module, in every process."""
    # by its path: two scripts of the same name are two modules
    return f"{script.stem}_{blake2b(str(script).encode(), digest_size=4).hexdigest()}"


def script_of(module: str) -> Path | None:
    """The script that was imported as a module of that name; None for any other module."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and module == module_name(Path(file)) else None


def _imported(path: Path, name: str) -> ModuleType:
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
        _cut.add(name)  # what stands above the call is defined, and that is what was wanted
    except BaseException:
        del sys.modules[name]
        raise
    return module


def attribute(module: ModuleType, name: str, text: str) -> Any:
    """What a module calls by a dotted name.

    Raises:
        DefinitionError: When there is nothing of that name; says what often causes that in scripts.
        Refused: When the name leads out of what is registered with this worker.
    """
    found: Any = module
    is_module = Reference.parse(text).kind == "module"
    for part in name.split("."):
        if not hasattr(found, part):
            where = getattr(module, "__file__", None) or module.__name__
            hint = f". {GUARD}" if module.__name__ in _cut else nearest(part, _own_names(found, module))
            raise DefinitionError([f"{text}: there is no {name!r} in {where}{hint}"], "the reference")
        found = getattr(found, part)
        if is_module:  # whoever consents to scripts consents to all that they name
            check_found(text, found)
    return found


def _own_names(thing: object, module: ModuleType) -> list[str]:
    """What a module or class defines itself, beside what it imported."""
    names = getattr(thing, "__dict__", {}).items()
    return [n for n, v in names if getattr(v, "__module__", None) == module.__name__ and n[0] != "_"]
