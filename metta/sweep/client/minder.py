"""The minder: ends an embedded server that nobody has used for an hour.

A small program of its own, with the standard library alone, because it runs as long as the server.
"""

import json
import os
import signal
import subprocess
import sys
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from time import monotonic, sleep

try:
    IDLE_S = float(os.environ["METTA_SWEEP_IDLE_S"])
except (KeyError, ValueError):  # without a minder, the server would never end
    IDLE_S = 3600.0
"""So long without a running workflow or a client, and the server ends."""

POLL_S = 0.25
"""So soon after its server the minder is gone, too."""


def main(binary: str, folder: Path) -> None:
    """Look after a server until it is gone, or until it is idle for too long."""
    alive = os.open(folder / "alive.lock", os.O_RDWR)
    used = looked = monotonic()
    while not _is_free(alive, LOCK_SH):
        if os.fstat(alive).st_nlink == 0:  # somebody deleted the store: nobody finds its server any more
            _end(alive)
        sleep(POLL_S)
        if monotonic() - looked < min(60.0, IDLE_S / 4):
            continue
        looked = monotonic()
        if _has_clients(folder) or _has_work(binary, folder):
            used = monotonic()
        elif monotonic() - used >= IDLE_S:
            _end(alive)


def _end(alive: int) -> None:
    """End the server; its lock tells which process that is, for it may have been started anew meanwhile."""
    pid = os.pread(alive, 20, 0).split()
    if pid and not _is_free(alive, LOCK_SH):
        os.kill(int(pid[0]), signal.SIGTERM)


def _has_clients(folder: Path) -> bool:
    """Whether somebody uses it. Clients share a lock: only who wants it for himself sees that."""
    descriptor = os.open(folder / "clients.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        return not _is_free(descriptor, LOCK_EX)
    finally:
        os.close(descriptor)


def _has_work(binary: str, folder: Path) -> bool:
    """Whether a workflow runs; a server that does not answer is taken as busy."""
    query = ["workflow", "count", "--query", 'ExecutionStatus="Running"', "--output", "json"]
    # another server's address, key or certificate in the user's configuration is not meant here
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    try:
        port = json.loads((folder / "server.json").read_bytes())["port"]
        where = ["--address", f"127.0.0.1:{port}", "--namespace", "metta-sweep", "--disable-config-file"]
        done = subprocess.run(
            [binary, *query, *where], capture_output=True, timeout=30, check=True, env=environment
        )
        return int(json.loads(done.stdout).get("count", 0)) > 0
    except (OSError, ValueError, KeyError, subprocess.SubprocessError):
        return True


def _is_free(descriptor: int, kind: int) -> bool:
    try:
        flock(descriptor, kind | LOCK_NB)
    except BlockingIOError:
        return False
    flock(descriptor, LOCK_UN)
    return True


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
