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
from metta.sweep.contracts.shelves import OutsideStore, inner
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
        self._here: dict[str, tuple[object, ...]] = {}  # what is here, as it was when it was kept
        self._locks = defaultdict[str, Lock](Lock)

    @property
    def address(self) -> str:
        """Where it is kept."""
        return self._objects.uri().rstrip("/")

    def name_of(self, path: str) -> str | None:
        """See ``Workplace.name_of``; on other machines the same folder lies in another home."""
        for root in (f"{self.address}/", f"/{self._tail}/"):
            _, found, name = path.partition(root)
            if found:
                return _inner(name)
        return super().name_of(path)

    def keep(self, name: str) -> None:
        """See ``Workplace.keep``; a name that is kept again is overwritten."""
        path = self.path / _checked(name)
        with self._locks[name], told(path, "read"):
            files = self._files(name)
            if not files:
                raise StoreError(f"{path} cannot be kept: it is missing, or a folder without a file")
            stamp = tuple(map(_stamp, map(self.path.joinpath, files)))
            if self._here.get(name) == stamp:  # it is kept as it is
                return
            for file in files:
                self._objects.upload(file, self.path / file)
            stale = [key for key in self._kept(name) if key not in files]
            self._objects.delete(stale)
            self._here[name] = stamp

    def put(self, name: str, data: bytes) -> None:
        """See ``Workplace.put``."""
        self._objects.put(_checked(name), data)

    def fetch(self, name: str, again: bool = False) -> None:
        """See ``Workplace.fetch``; what lies here under that name is replaced."""
        path = self.path / _checked(name)
        with self._locks[name], told(path, "written"):
            if again or name not in self._here or not path.exists():
                self._replace(name)
                self._here[name] = ()

    def has(self, name: str) -> bool:
        """See ``Workplace.has``."""
        return bool(self._kept(_checked(name)))

    def part(self, name: str, offset: int, limit: int | None) -> bytes:
        """See ``Workplace.part``."""
        return self._objects.get_range(name, offset, limit)

    def claim(self, name: str) -> bool:
        """See ``Workplace.claim``."""
        mine = machine_name(self._home).encode()
        return self._objects.create(name, mine) or self._objects.get(name) == mine

    def drop(self, name: str) -> None:
        """See ``Workplace.drop``."""
        deleted(self.path / _checked(name))
        self._here.pop(name, None)
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
        found = sorted(f.relative_to(self.path).as_posix() for f in path.rglob("*") if f.is_file())
        if strange := [file for file in found if not file.isprintable()]:
            raise StoreError(f"{path} cannot be kept: {strange[0]!a} is no name for an object")
        return found

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
                part = draft / PurePosixPath(_checked(key)).relative_to(name)
                part.parent.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as file:
                    if not self._objects.download(key, file):
                        raise StoreError(f"{self._objects.uri(key)} was deleted at this moment")
            deleted(path)
            draft.replace(path)


def _inner(name: str) -> str | None:
    """A name as it is written without detours; None when it leads out of the folder."""
    try:
        return inner(name)
    except OutsideStore:
        return None


def _checked(name: str) -> str:
    """A name that leads nowhere else: people write reports, and keys of a bucket.

    Raises:
        StoreError: When it does.
    """
    if _inner(name) != name:
        raise StoreError(f"{name!r:.200} is no name of anything in the folder of a sweep")
    return name


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def machine_name(home: Path) -> str:
    """A name for this machine, and for what runs with this folder on it: chosen once."""
    path = home / "machine"
    with told(path, "written"):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                write_durably(path, uuid4().hex.encode())
        return path.read_text("ascii")
