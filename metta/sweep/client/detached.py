"""Detached processes: they outlive the program that started them, and its terminal."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from metta.sweep.client.locks import held, is_held
from metta.sweep.contracts.errors import ServerError
from metta.sweep.stores.ledgers import told

POLL_S = 0.02
PID_S = 2.0
"""Whoever holds a lock has written its pid there by then."""

LOG_CHARS = 2000
NOT_STARTED = "a process that was to go on by itself did not start"

# The first shell ends at once, so that the process is nobody's child: no zombie is left, and no Ctrl-C
# reaches it. The second says which process it is, in the lock that it holds, and becomes the program.
DETACH = 'log=$1; shift; exec </dev/null >>"$log" 2>&1; /bin/sh -c "$0" sh "$@" &'
BECOME = 'echo $$ >"$1"; cd "$2" && shift 2 && exec "$@"'


def spawn_detached(
    command: Sequence[str],
    log: Path,
    folder: Path,
    lock: Path,
    environment: Mapping[str, str] | None = None,
) -> bool:
    """Start a process in a session of its own; whatever keeps it from starting stands in its log.

    Args:
        command: Program and arguments.
        log: File to which its output is appended.
        folder: Its working directory.
        lock: Lock that it holds for as long as it lives, and in which its pid stands.
        environment: Its environment; None passes on this one.

    Returns:
        Whether it was started; not when somebody else holds the lock.

    Raises:
        ServerError: When it was killed before it began, the system has no room for it, or its log is a
            folder.
        StoreError: When its lock or its log cannot be written.
    """
    with told(lock, "written"):
        descriptor = held(lock)
    if descriptor is None:
        return False
    try:
        os.ftruncate(descriptor, 0)  # who held it before has nothing to do with it any more
        _check_log(log)
        subprocess.run(
            ["/bin/sh", "-c", DETACH, BECOME, str(log), str(lock), str(folder), *command],
            env=environment,
            start_new_session=True,
            pass_fds=(descriptor,),  # the heir holds the lock, too
            check=True,
        )
    except subprocess.CalledProcessError as error:
        # killed, like what it was to start: that can be tried again
        raise ServerError(
            f"{NOT_STARTED}: its shell has ended with {error.returncode}; try it again"
        ) from error
    except OSError as error:  # such as too many processes
        raise ServerError(f"{NOT_STARTED}: {error.strerror}; try it again") from error
    finally:
        os.close(descriptor)
    return True


def _check_log(log: Path) -> None:
    """See to it that a log can be written: the shell could only say that it ended with 2."""
    if log.is_dir():
        raise ServerError(f"{NOT_STARTED}: {log} is to be its log, and is a folder; move that away")
    with told(log, "written"):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.open("ab").close()


def end(lock: Path, patience_s: float, what: str) -> None:
    """End the process that holds a lock: politely, then by force with all of its group.

    Args:
        lock: The lock.
        patience_s: How long it may take each time.
        what: What the process is, for the message.

    Raises:
        ServerError: When it does not end.
    """
    pid = _holder(lock)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if pid is None or not is_held(lock):  # without the lock, the pid may be somebody else's
            break
        with suppress(ProcessLookupError):
            if sign == signal.SIGTERM:
                os.kill(pid, sign)
            else:
                os.killpg(os.getpgid(pid), sign)
        wait_until_free(lock, patience_s)
    if is_held(lock):
        raise ServerError(
            f"{what} does not end, even by force: process {pid} waits for the system, such as for a drive"
            " that is away. Bring that back, and try it again"
            if pid
            else f"{what} cannot be ended: some process holds {lock} and does not say there which."
            f" `fuser {lock}` tells it; end that, and try it again"
        )


def wait_until_free(lock: Path, patience_s: float) -> bool:
    """Wait until nobody holds a lock; False when somebody still does."""
    deadline = monotonic() + patience_s
    while is_held(lock):
        if monotonic() >= deadline:
            return False
        sleep(POLL_S)
    return True


def size_of(log: Path) -> int:
    """How long a log is by now."""
    return log.stat().st_size if log.exists() else 0


def end_of(log: Path, begin: int) -> str:
    """What was written to a log after it had the size ``begin``, for an error's message; only the end."""
    text = log.read_bytes()[begin:].decode(errors="replace") if log.exists() else ""
    return f"its log {log} ends with:\n{text[-LOG_CHARS:]}".rstrip()


def _holder(lock: Path) -> int | None:
    """The process that holds a lock, or None."""
    deadline = monotonic() + PID_S
    while is_held(lock):
        words = lock.read_text("utf-8", errors="replace").split()
        if words and words[0].isdigit():
            return int(words[0])
        if monotonic() >= deadline:
            break
        sleep(POLL_S)
    return None
