"""Workplaces in the store itself: what attempts leave there is kept as it is."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

from metta.sweep.contracts.shelves import part_of
from metta.sweep.stores.base import Workplace


class FileWorkplace(Workplace):
    """The folder of a sweep that every machine sees.

    Args:
        path: The folder.
    """

    is_shared = True

    @property
    def address(self) -> str:
        """Its path."""
        return str(self.path)

    def keep(self, name: str) -> None:
        """Nothing has to be done."""

    def put(self, name: str, data: bytes) -> None:
        """Nothing has to be done."""

    def has(self, name: str) -> bool:
        """Whether it is there."""
        return (self.path / name).exists()

    def fetch(self, name: str, again: bool = False) -> None:
        """Nothing has to be done."""

    def part(self, name: str, offset: int, limit: int | None) -> bytes:
        """See ``Workplace.part``."""
        return part_of(self.path / name, offset, limit)

    def claim(self, name: str) -> bool:
        """Whoever runs something here claims it by files of his own."""
        return True

    def drop(self, name: str) -> None:
        """Delete a file or a folder; what cannot be deleted is left lying."""
        deleted(self.path / name)

    def attempts(self, folder: str) -> Iterator[str]:
        """Attempts that have left a folder of this name."""
        for found in self.path.glob(f"trials/*/seg-*/try-*/{folder}"):
            yield found.parent.relative_to(self.path).as_posix()


def deleted(path: Path) -> None:
    """Delete a file or a folder; what cannot be deleted is left lying."""
    if path.is_dir() and not path.is_symlink():
        rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
