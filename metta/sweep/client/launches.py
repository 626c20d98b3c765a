"""Launches: how the detached worker of a sweep is started, recorded so that anybody can start it again."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from filelock import FileLock
from pydantic import Field

from metta.sweep.client.detached import end, spawn_detached
from metta.sweep.client.locks import is_held
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.models import Wire
from metta.sweep.stores.files import write_durably

ENVIRONMENT = ("METTA_SWEEP_", "TEMPORAL_", "PYTHON", "CUDA_", "VIRTUAL_ENV")
"""Variables that decide how a worker works; another terminal may lack them."""

STOP_S = 20.0


class Launch(Wire):
    """A worker as it was started: by which interpreter, where, and with which code.

    Args:
        queue: Task queue that it serves.
        interpreter: Python.
        code: Where user code is found.
        environment: Variables that decide how it works.
        generation: Counts the launches of this name.
        closed: Whether its work is done.
    """

    queue: str
    interpreter: str = sys.executable
    code: Code
    environment: dict[str, str] = Field(
        default_factory=lambda: {k: v for k, v in os.environ.items() if k.startswith(ENVIRONMENT)}
    )
    generation: int = 0
    closed: bool = False


class Launches:
    """All launches of a store.

    Args:
        store: Folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._folder = store / "launches"

    def open(self, name: str, code: Code) -> None:
        """Record the launch of a worker that serves the queue of this name, and start the worker."""
        with self._changing(name):
            before = self.read(name) if self._file(name).exists() else None
            generation = before.generation + 1 if before else 0
            self._write(name, Launch(queue=name, code=code, generation=generation))
        self.spawn(name)

    def read(self, name: str) -> Launch:
        """The launch of this name."""
        return Launch.model_validate_json(self._file(name).read_bytes())

    def close(self, name: str, generation: int) -> bool:
        """Record that a worker's work is done.

        Returns:
            False when the same name was launched again meanwhile: then it is not done.
        """
        with self._changing(name):
            launch = self.read(name)
            if launch.generation != generation:
                return False
            self._write(name, launch.model_copy(update={"closed": True}))
            return True

    def reopen(self, name: str) -> None:
        """Start the worker of a sweep that runs although its launch was closed; does nothing without one."""
        if self._file(name).exists() and not self.is_alive(name):
            self.open(name, self.read(name).code)

    def unfinished(self) -> list[str]:
        """Launches whose work is not done."""
        names = sorted(unquote(file.stem) for file in self._folder.glob("*.json"))
        return [name for name in names if not self.read(name).closed]

    def revive(self) -> None:
        """Start the workers of all launches whose work is not done."""
        for name in self.unfinished():
            self.spawn(name)

    def spawn(self, name: str) -> None:
        """Start the worker of a launch, unless it lives; of several at the same time one is started."""
        launch = self.read(name)
        command = [
            launch.interpreter,
            "-m",
            "metta.sweep.worker",
            "--launch",
            name,
            "--store",
            str(self._store),
        ]
        spawn_detached(
            command,
            self._file(name).with_suffix(".log"),
            Path(launch.code.cwd or "."),
            self.lock(name),
            {**os.environ, **launch.environment, "PYTHONPATH": os.pathsep.join(launch.code.path)},
        )

    def is_alive(self, name: str) -> bool:
        """Whether the worker of a launch lives."""
        return is_held(self.lock(name))

    def lock(self, name: str) -> Path:
        """The lock that the worker of a launch holds."""
        return self._file(name).with_suffix(".lock")

    def stop(self) -> list[str]:
        """End all workers, and leave their launches as they are.

        Returns:
            The names of those that lived.

        Raises:
            ServerError: When one does not end.
        """
        alive = [name for name in self.unfinished() if self.is_alive(name)]
        for name in alive:
            pid = int(self.lock(name).read_text("utf-8") or "0")
            if not end(pid, self.lock(name), STOP_S):
                raise ServerError(f"the worker of {name}, process {pid}, does not end")
        return alive

    def sign(self, name: str) -> None:
        """Say which process the worker is; called by the worker, which holds the lock."""
        self.lock(name).write_text(str(os.getpid()), "utf-8")

    def _write(self, name: str, launch: Launch) -> None:
        write_durably(self._file(name), launch.model_dump_json(indent=1).encode())

    def _file(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe='')}.json"

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._file(name).with_suffix(".change")):
            yield
