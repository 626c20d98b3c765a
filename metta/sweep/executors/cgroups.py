"""Control groups: limits of a job's memory, where this process may set them (version 2 of the kernel's).

Needs the standard library alone.
"""

import os
from contextlib import suppress
from time import monotonic, sleep

GONE_S = 1.0
"""The processes of a group that was killed are gone by then."""


def own_groups(proc: str = "/proc/self") -> list[str]:
    """The folders of the group of this process and of those around it, the nearest first."""
    with open(f"{proc}/cgroup") as file:
        paths = [line.rstrip("\n")[3:] for line in file if line.startswith("0::")]
    with open(f"{proc}/mountinfo") as file:
        mounts = [line.split() for line in file if " - cgroup2 " in line]
    if not paths or not mounts:
        return []
    root, top = mounts[0][3], mounts[0][4]
    group = os.path.normpath(os.path.join(top, os.path.relpath(paths[0], root)))
    groups = []
    while group.startswith(top):
        groups.append(group)
        group = os.path.dirname(group)
    return groups


def limited(parents: list[str], name: str, memory_gib: float) -> str | None:
    """Make a group whose processes share so much memory, and die together when they want more.

    Args:
        parents: Groups in which to try it, the best one first.
        name: What the group is called.
        memory_gib: Its memory in GiB.

    Returns:
        The folder of the group, or None where this process may not make one.
    """
    for parent in parents:
        group = os.path.join(parent, name)
        try:
            with open(os.path.join(parent, "cgroup.subtree_control")) as file:
                if "memory" not in file.read().split():
                    continue
            os.mkdir(group)
        except OSError:
            continue
        try:
            _set(group, "memory.max", str(int(memory_gib * 2**30)))
            _set(group, "memory.oom.group", "1")
        except OSError:
            dissolve(group)
        else:
            return group
    return None


def join(group: str) -> None:
    """Put this process, and all that it starts from now on, into a group."""
    _set(group, "cgroup.procs", "0")


def ran_out(group: str) -> bool:
    """Whether the kernel killed a process of a group because it wanted more memory than it may have."""
    try:
        with open(os.path.join(group, "memory.events")) as file:
            events = dict(line.split() for line in file)
    except OSError:
        return False
    return int(events.get("oom_kill", 0)) > 0


def dissolve(group: str) -> None:
    """Kill what is left in a group, and remove it."""
    with suppress(OSError):
        _set(group, "cgroup.kill", "1")
    deadline = monotonic() + GONE_S
    while os.path.isdir(group) and monotonic() < deadline:
        with suppress(OSError):  # busy, until the last of its processes is gone
            os.rmdir(group)
            return
        sleep(0.01)


def _set(group: str, name: str, value: str) -> None:
    # not created where it is missing, for then this is no control group
    descriptor = os.open(os.path.join(group, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
