"""Claims: which process looks after a job, told so that no other one is taken for it.

A process is known by its pid, its start time and the boot of the machine: pids are given again. Needs the
standard library alone.
"""

import errno
import json
import os
import signal
from contextlib import suppress
from time import time

from metta.sweep.executors.protocol import CLAIM, encoded, sync_folder, write_durably

HOLDER = "supervisor.json"
"""The file within a claim that says who made it."""

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def identity(pid: int) -> dict[str, object]:
    """What tells a process that lives from any other one.

    Returns:
        Its pid, start time in ticks since the boot, boot and host; and the time now, in seconds.
    """
    return {
        "pid": pid,
        "start_time": start_time(pid),
        "boot_id": boot_id(),
        "host": os.uname().nodename,
        "at": time(),
    }


def lives(known: dict[str, object]) -> bool:
    """Whether the process of an identity is alive: a zombie is not, nor whoever has its pid by now."""
    pid, start = known.get("pid"), known.get("start_time")
    if not isinstance(pid, int) or not isinstance(start, int) or known.get("boot_id") != boot_id():
        return False
    return start_time(pid) == start


def start_time(pid: int) -> int | None:
    """When a process was started, in ticks since the boot; None when it is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()  # its name may hold anything
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if words[0] in (b"Z", b"X") else int(words[19])


def boot_id() -> str:
    """Which boot of which machine this is."""
    with open(BOOT_ID) as file:
        return file.read().strip()


def claim(folder: str) -> bool:
    """Claim a job's folder for this process, for ever.

    The claim comes with its holder's identity in one step: a folder is renamed, which fails where
    there is one already. So whoever dies has claimed nothing, or left word of who it was.

    Returns:
        Whether it is this process's; not when another one has claimed it before.

    Raises:
        OSError: When it cannot be claimed for now.
    """
    beside = os.path.join(folder, f".{CLAIM}-{os.urandom(6).hex()}")
    os.mkdir(beside)
    try:
        write_durably(os.path.join(beside, HOLDER), encoded(identity(os.getpid())))
        os.rename(beside, os.path.join(folder, CLAIM))
    except OSError as error:
        with suppress(OSError):
            os.unlink(os.path.join(beside, HOLDER))
        with suppress(OSError):
            os.rmdir(beside)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    sync_folder(folder)
    return True


def is_claimed(folder: str) -> bool:
    """Whether some process has claimed a job's folder.

    Raises:
        OSError: When that cannot be told for now.
    """
    try:
        os.stat(os.path.join(folder, CLAIM))
    except FileNotFoundError:
        return False
    return True


def is_own(folder: str) -> bool:
    """Whether a job's folder is still claimed by this process; so it is as long as nobody can tell."""
    try:
        with open(os.path.join(folder, CLAIM, HOLDER), "rb") as file:
            known = json.loads(file.read())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    try:
        mine = identity(os.getpid())
    except OSError:
        return True
    # the name of a machine may change while it runs
    told = ("pid", "start_time", "boot_id")
    return not isinstance(known, dict) or all(known.get(name) == mine[name] for name in told)


def holder(folder: str) -> dict[str, object]:
    """Who has claimed a job's folder; empty when that cannot be told."""
    try:
        with open(os.path.join(folder, CLAIM, HOLDER), "rb") as file:
            known = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def wake(known: dict[str, object]) -> None:
    """Let the process of an identity look what it is told, if it is alive."""
    pid = known.get("pid")
    if not isinstance(pid, int) or not lives(known):
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if lives(known):  # from here on the descriptor means it, and no later one
            signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
