"""Mirrors: workplaces on this machine of sweeps whose store lies in a bucket."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Lock
from uuid import uuid4

from filelock import FileLock

from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.base import Workplace
from metta.sweep.stores.files import write_durably
from metta.sweep.stores.ledgers import told
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.workplaces import deleted


class Mirror(Workplace):
    """A folder of this machine, of which is kept in a bucket what others may need.

    A folder is kept file by file, and recorded only when all of them are there. What was kept once is here as
    it is there, as long as this process lives: an earlier one, or another machine, may have left something
    else under the same name.

    Args:
        home: Folder of this machine, below which the mirror lies under the name that it has in the bucket.
        objects: Where it is kept.
    """

    is_shared = False

    def __init__(self, home: Path, objects: Objects) -> None:
        self._home, self._tail = home, f"s3/{objects.bucket}/{objects.prefix}".rstrip("/")
        super().__init__(home / self._tail)
        self._objects = objects
        self._here: set[str] = set()
        self._locks = defaultdict[str, Lock](Lock)

    @property
    def address(self) -> str:
        """Where it is kept."""
        return self._objects.uri().rstrip("/")

    def name_of(self, path: str) -> str | None:
        """See ``Workplace.name_of``; on other machines the same folder lies in another home."""
        if path.startswith(f"{self.address}/"):
            return path.removeprefix(f"{self.address}/")
        _, found, name = path.partition(f"/{self._tail}/")
        return (name or None) if found else super().name_of(path)

    def keep(self, name: str) -> None:
        """See ``Workplace.keep``; a name that is kept again is overwritten."""
        path = self.path / name
        with self._locks[name], told(path, "read"):
            files = self._files(name)
            if not files:
                raise StoreError(f"{path} cannot be kept: it is missing, or a folder without a file")
            for file in files:
                self._objects.upload(file, self.path / file)
            stale = [key for key in self._kept(name) if key not in files]
            self._objects.delete(stale)
            self._here.add(name)

    def fetch(self, name: str) -> None:
        """See ``Workplace.fetch``; what lies here under that name is replaced."""
        with self._locks[name], told(self.path / name, "written"):
            if name not in self._here:
                self._replace(name)
                self._here.add(name)

    def part(self, name: str, offset: int, limit: int | None) -> bytes:
        """See ``Workplace.part``."""
        return self._objects.get_range(name, offset, limit)

    def claim(self, name: str) -> bool:
        """See ``Workplace.claim``."""
        mine = machine_name(self._home).encode()
        return self._objects.create(name, mine) or self._objects.get(name) == mine

    def drop(self, name: str) -> None:
        """See ``Workplace.drop``."""
        deleted(self.path / name)
        self._here.discard(name)
        with suppress(StoreError):
            self._objects.delete(self._kept(name))

    def attempts(self, folder: str) -> Iterator[str]:
        """See ``Workplace.attempts``; what is kept counts, and what lies here."""
        kept = (found.key.split("/") for found in self._objects.listed("trials/"))
        there = {"/".join(parts[:4]) for parts in kept if len(parts) > 5 and parts[4] == folder}
        here = self.path.glob(f"trials/*/seg-*/try-*/{folder}")
        yield from sorted(there | {found.parent.relative_to(self.path).as_posix() for found in here})

    def _files(self, name: str) -> list[str]:
        """What a name stands for here: itself, or all files below it."""
        path = self.path / name
        if path.is_file():
            return [name]
        return sorted(f.relative_to(self.path).as_posix() for f in path.rglob("*") if f.is_file())

    def _kept(self, name: str) -> list[str]:
        """What a name stands for in the bucket."""
        found = self._objects.listed(name)
        return [f.key for f in found if f.key == name or f.key.startswith(f"{name}/")]

    def _replace(self, name: str) -> None:
        path, keys = self.path / name, self._kept(name)
        if not keys:
            raise StoreError(f"{self._objects.uri(name)} is missing; restore it from a backup")
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            draft = Path(folder, path.name)
            for key in keys:
                part = draft / PurePosixPath(key).relative_to(name)
                part.parent.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as file:
                    self._objects.download(key, file)
            deleted(path)
            draft.replace(path)


def machine_name(home: Path) -> str:
    """A name for this machine, and for what runs with this folder on it: chosen once."""
    path = home / "machine"
    with told(path, "written"):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                write_durably(path, uuid4().hex.encode())
        return path.read_text("ascii")
