"""Names of a package that are imported when they are first used."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy(
    package: str, homes: Mapping[str, Sequence[str]], root: str | None = None
) -> tuple[list[str], Callable[[str], object], Callable[[], list[str]]]:
    """``__all__``, ``__getattr__`` and ``__dir__`` for a package that re-exports names lazily.

    Args:
        package: The package's ``__name__``.
        homes: Modules below the root, each with the names it defines.
        root: The package they lie in; None means this one.
    """
    home_of = {name: f"{root or package}.{home}" for home, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    names = sorted(home_of)
    return names, get, lambda: names
