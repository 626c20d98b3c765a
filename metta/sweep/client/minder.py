"""The minder: ends an embedded server that nobody has used for an hour.

A small program of its own, with the standard library alone, because it runs as long as the server.
"""

import json
import os
import signal
import subprocess
import sys
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from time import monotonic, sleep

IDLE_S = float(os.environ.get("METTA_SWEEP_IDLE_S", "3600"))
"""So long without a running workflow or a client, and the server ends."""

POLL_S = 0.25
"""So soon after its server the minder is gone, too."""


def main(binary: str, folder: Path) -> None:
    """Look after a server until it is gone, or until it is idle for too long."""
    info = json.loads((folder / "server.json").read_text("utf-8"))
    used = looked = monotonic()
    while _is_held(folder / "alive.lock"):
        sleep(POLL_S)
        if monotonic() - looked < min(60.0, IDLE_S / 4):
            continue
        looked = monotonic()
        if _is_held(folder / "clients.lock") or _has_work(binary, info["address"]):
            used = monotonic()
        elif monotonic() - used >= IDLE_S and _is_held(folder / "alive.lock"):
            os.kill(info["pid"], signal.SIGTERM)
            return


def _has_work(binary: str, address: str) -> bool:
    """Whether a workflow runs; a server that does not answer is taken as busy."""
    query = ["workflow", "count", "--query", 'ExecutionStatus="Running"', "--output", "json"]
    where = ["--address", address, "--namespace", "metta-sweep"]
    try:
        done = subprocess.run([binary, *query, *where], capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0 or int(json.loads(done.stdout).get("count", 0)) > 0


def _is_held(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
