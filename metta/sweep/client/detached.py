"""Detached processes: they outlive the program that started them, and its terminal."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from metta.sweep.client.locks import held, is_held

POLL_S = 0.02

# The shell ends at once, so that the process is nobody's child: no zombie is left, and no Ctrl-C reaches it.
SHELL = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'


def spawn_detached(
    command: Sequence[str],
    log: Path,
    folder: Path,
    lock: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int | None:
    """Start a process in a session of its own.

    Args:
        command: Program and arguments.
        log: File to which its output is appended.
        folder: Its working directory.
        lock: Lock that it holds for as long as it lives.
        environment: Its environment; None passes on this one.

    Returns:
        Its pid, or None when somebody else holds the lock.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = held(lock) if lock else None
    if lock and descriptor is None:
        return None
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", SHELL, "sh", str(log), *command],
            stdout=subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
            pass_fds=() if descriptor is None else (descriptor,),  # the heir holds the lock, too
            check=True,
        )
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return int(done.stdout)


def end(pid: int, lock: Path, patience_s: float) -> bool:
    """End a process that holds a lock: politely, then by force with all of its group.

    Returns:
        Whether it is gone.
    """
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            if sign == signal.SIGTERM:
                os.kill(pid, sign)
            else:
                os.killpg(os.getpgid(pid), sign)
        if wait_until_free(lock, patience_s):
            return True
    return False


def wait_until_free(lock: Path, patience_s: float) -> bool:
    """Wait until nobody holds a lock; False when somebody still does."""
    deadline = monotonic() + patience_s
    while is_held(lock):
        if monotonic() >= deadline:
            return False
        sleep(POLL_S)
    return True
