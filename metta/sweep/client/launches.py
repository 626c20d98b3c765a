"""Launches: how the detached worker of a sweep is started, recorded so that anybody can start it again."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, time
from urllib.parse import quote, unquote

from filelock import FileLock
from pydantic import Field

from metta.sweep.client.detached import end, end_of, spawn_detached, wait_until_free
from metta.sweep.client.locks import held, is_held
from metta.sweep.contracts.attempts import Code
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.models import Wire
from metta.sweep.stores.files import write_durably
from metta.sweep.stores.ledgers import told

ENVIRONMENT = (
    *("METTA_SWEEP_", "TEMPORAL_", "PYTHON", "CUDA_", "VIRTUAL_ENV"),
    *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE"),
    *("AWS_CA_BUNDLE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_"),
    *("AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_REQUEST_CHECKSUM_", "AWS_RESPONSE_CHECKSUM_"),
    *("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_", "OTEL_BSP_", "OTEL_SDK_DISABLED"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    *("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
)
"""Beginnings of variables that decide how a worker works; another terminal may lack them, or have others.
Credentials for a bucket or a collector are not among them: they expire, and others have newer ones."""

SERVING = "serving"

AGAIN_S = 60.0
"""A worker that dies while it starts is left alone for so long: what is in its way may be gone then."""

STOP_S = 20.0


class Launch(Wire):
    """A worker as it was started: by which interpreter, where, and with which code.

    Args:
        queue: Task queue that it serves.
        interpreter: Python.
        code: Where user code is found.
        environment: Variables that decide how it works.
        store: Address of the store; empty when it is the folder in which this is recorded.
        generation: Counts how often somebody launched this name.
        opened_at: When that was, in seconds since 1970.
        closed: Whether its work is done.
    """

    queue: str
    interpreter: str = Field(default_factory=lambda: sys.executable)
    code: Code
    environment: dict[str, str] = Field(
        default_factory=lambda: {k: v for k, v in os.environ.items() if k.startswith(ENVIRONMENT)}
    )
    store: str = ""
    generation: int = 0
    opened_at: float = Field(default_factory=time)
    closed: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that works as this worker does."""
        here = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT)}
        return {**here, **self.environment, "PYTHONPATH": os.pathsep.join(self.code.path)}


class Launches:
    """All launches of a project on this machine.

    Args:
        home: Where they are recorded.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "launches"
        self._tried = dict[str, float]()

    def open(self, name: str, code: Code, store: str = "") -> None:
        """Record the launch of a worker that serves the queue of this name, and start the worker.

        Args:
            name: The name.
            code: Where user code is found.
            store: Address of the store; empty when it is the home.

        Raises:
            ServerError: When the worker cannot be started.
            StoreError: When that cannot be recorded.
        """
        self.open_as(Launch(queue=name, code=code, store=store))

    def open_as(self, launch: Launch) -> None:
        """Record a launch as one of now, and start its worker; see ``open``."""
        name = launch.queue
        with self._changing(name):
            before = self.find(name)
            generation = before.generation + 1 if before else 0
            now = {"generation": generation, "opened_at": time(), "closed": False}
            self._write(launch.model_copy(update=now))
        self._begin(name, before)

    def find(self, name: str) -> Launch | None:
        """The launch of this name; None when there is none, or none that can be read."""
        try:
            return Launch.model_validate_json(self._file(name).read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def read(self, name: str) -> Launch:
        """The launch of this name.

        Raises:
            ServerError: When there is none.
        """
        if found := self.find(name):
            return found
        raise ServerError(f"nothing tells how the worker of {name} is started: {self._file(name)} is missing")

    def close(self, name: str, generation: int) -> bool:
        """Record that a worker's work is done.

        Returns:
            False when the same name was launched again meanwhile: then it is not done.
        """
        with self._changing(name):
            launch = self.read(name)
            if launch.generation != generation:
                return False
            self._write(launch.model_copy(update={"closed": True}))
            return True

    def reopen(self, name: str) -> None:
        """Start the worker of a sweep that runs although its launch was closed; does nothing without one."""
        with self._changing(name):
            before = self.find(name)
            if before is None or (self.is_alive(name) and not before.closed):
                return
            self._write(before.model_copy(update={"closed": False}))
        self._begin(name, before)

    def unfinished(self) -> list[str]:
        """Launches whose work is not done."""
        names = sorted(unquote(file.stem) for file in self._folder.glob("*.json"))
        return [name for name in names if (found := self.find(name)) and not found.closed]

    def revive(self) -> None:
        """Start the workers of all launches whose work is not done, if they do not live.

        Raises:
            ServerError: When some die while they start, each time.
            StoreError: When the folder may only be read, or has no room left.
        """
        dying = []
        for name in self.unfinished():
            tried = self._tried.get(name)
            # at first it is not asked whether it lives: one that is killed this very moment seems to
            if tried is not None and self.is_alive(name):
                continue
            failure = self.failure(name)
            if failure and tried is not None and monotonic() - tried < AGAIN_S:
                dying.append(failure)
                continue
            self._tried[name] = monotonic()
            self.spawn(name)
        if dying:
            raise ServerError("; ".join(dying))

    def spawn(self, name: str) -> None:
        """Start the worker of a launch, unless it lives; of several at the same time one is started.

        Raises:
            ServerError: When it cannot be started.
            StoreError: When its lock or log cannot be written.
        """
        launch = self.read(name)
        worker = [launch.interpreter, "-m", "metta.sweep.worker"]
        spawn_detached(
            [*worker, "--launch", name, "--home", str(self._home)],
            self._log(name),
            Path(launch.code.cwd or "."),
            self.lock(name),
            launch.variables,
        )

    def is_alive(self, name: str) -> bool:
        """Whether the worker of a launch lives."""
        return is_held(self.lock(name))

    def living(self) -> list[str]:
        """Names of all workers that live, also of those that nobody launched."""
        found = sorted(unquote(lock.stem) for lock in self._folder.glob("*.lock"))
        return [name for name in found if self.is_alive(name)]

    def unreadable(self) -> list[Path]:
        """Files that are to tell how a worker is started, and do not."""
        return [file for file in sorted(self._folder.glob("*.json")) if not self.find(unquote(file.stem))]

    def lock(self, name: str) -> Path:
        """The lock that the worker of a launch holds."""
        return self._file(name).with_suffix(".lock")

    @contextmanager
    def present(self) -> Iterator[None]:
        """Within it this process counts as a worker that nobody launched, for ``stop`` to end it."""
        lock = self.lock(f"process {os.getpid()}")
        with told(self._folder, "written"):
            descriptor = held(lock)
        try:
            with told(self._folder, "written"):
                lock.write_text(str(os.getpid()), "utf-8")
            yield
        finally:
            lock.unlink(missing_ok=True)
            if descriptor is not None:
                os.close(descriptor)

    def sign(self, name: str) -> None:
        """Say behind its pid that the worker has started; called by the worker, which holds the lock."""
        with self.lock(name).open("r+", encoding="utf-8") as lock:
            if SERVING not in lock.read():
                lock.write(SERVING)

    def failure(self, name: str) -> str:
        """How the worker of a launch died while it was starting; empty when it did not."""
        lock = self.lock(name)
        if self.is_alive(name) or not lock.exists() or SERVING in lock.read_text("utf-8"):
            return ""
        return f"the worker of {name} dies while it starts; {end_of(self._log(name), 0)}"

    def end(self, name: str) -> None:
        """End the worker of a launch, if it lives: the next one imports the code as it is then.

        Raises:
            ServerError: When it does not end.
        """
        end(self.lock(name), STOP_S, f"the worker of {name}")

    def stop(self) -> list[str]:
        """End all workers, and leave their launches as they are.

        Returns:
            The names of those that lived.

        Raises:
            ServerError: When one does not end.
        """
        alive = self.living()
        for name in alive:
            self.end(name)
        return alive

    def _begin(self, name: str, before: Launch | None) -> None:
        if before and before.closed:  # its worker does not look any more, but may take a moment to be gone
            wait_until_free(self.lock(name), STOP_S)
        self.spawn(name)

    def _write(self, launch: Launch) -> None:
        write_durably(self._file(launch.queue), launch.model_dump_json(indent=1).encode())

    def _file(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe='')}.json"

    def _log(self, name: str) -> Path:
        return self._file(name).with_suffix(".log")

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        with told(self._folder, "written"):
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._file(name).with_suffix(".change")):
                yield
