"""The supervisor: a small process that looks after one job, and outlives the worker that asked for it.

It claims the job's folder, leases devices, starts the job in a process group of its own, ends it when it is
told to or when its time is over, kills what it leaves behind, and writes down how it ended. When it is killed
itself, the kernel kills the job: nothing runs that nobody looks after.

Needs the standard library alone, and little of that: one is started for each job.
"""

import fcntl
import json
import os
import signal
import sys
from contextlib import suppress
from math import inf
from resource import RLIMIT_CORE, setrlimit
from time import monotonic, sleep, time

from metta.sweep.executors import cgroups, claims, leases
from metta.sweep.executors.protocol import EXIT, LOG, STARTED, STOP, encoded, write_durably

WAKE = {signal.SIGCHLD, signal.SIGUSR1}
DEAF = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
DEFAULT = DEAF | WAKE | {signal.SIGQUIT, signal.SIGUSR2, signal.SIGPIPE, signal.SIGXFSZ}
"""Signals that a job finds as if a person had started it, whatever became of them on the way to it."""

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that people and machines send to end a process; training code dies of other ones."""

LOOK_S = 1.0
"""How often it looks whether the job is to end; who tells so also wakes it, but from this machine alone."""

LEASE_S = 0.2
"""How often it tries to lease devices."""

ROOM_S = 1.0
"""So long after the disk was full, it tries again to write down how the job ended."""

GONE_S = 1.0
"""What was killed is gone by then."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells say it
VMSTAT = "/proc/vmstat"


class Order:
    """What a supervisor is asked to do.

    Args:
        folder: The job's folder; an absolute path.
        command: Program and arguments.
        env: Its whole environment.
        cwd: Its working directory.
        timeout_s: Longest run in seconds, or None.
        grace_s: So long it may take to end before it is killed.
        memory_gib: How much memory it may use, in GiB, or None.
        gpu: How many devices it needs.
        gpus: Devices of this machine.
        leases: Where the leases of devices are.
    """

    def __init__(
        self,
        folder: str,
        command: list[str],
        env: dict[str, str],
        cwd: str,
        timeout_s: float | None,
        grace_s: float,
        memory_gib: float | None,
        gpu: int,
        gpus: list[str],
        leases: str,
    ) -> None:
        self.folder = folder
        self.command = command
        self.env = env
        self.cwd = cwd
        self.timeout_s = timeout_s
        self.grace_s = grace_s
        self.memory_gib = memory_gib
        self.gpu = gpu
        self.gpus = gpus
        self.leases = leases

    def path(self, name: str) -> str:
        """A file in the job's folder."""
        return os.path.join(self.folder, name)

    @property
    def is_revoked(self) -> bool:
        """Whether the job is to end: somebody says so, or has deleted its folder."""
        return os.path.exists(self.path(STOP)) or not claims.is_own(self.folder)


def main() -> None:
    """Do what standard input asks for; standard error says why nothing was claimed, and is then closed."""
    order = Order(**json.load(sys.stdin.buffer))
    if os.fork():
        os._exit(0)  # nobody's child leaves no zombie
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKE | DEAF)  # before the claim, which says whom to wake
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it never learns how a child ended
    log = os.open(order.path(LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    if not claims.claim(order.folder):
        return
    os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir("/")
    setrlimit(RLIMIT_CORE, (0, 0))
    set_for_process(PR_SET_CHILD_SUBREAPER, 1)  # what the job leaves behind is waited for here
    keep(order, run(order))


def run(order: Order) -> dict[str, object]:
    """Run the job, once it has its devices.

    Returns:
        How it ended: the fields of ``JobEnd``.
    """
    held: dict[str, int] = {}
    group = None
    try:
        while order.gpu and not held and not order.is_revoked:
            held = leases.lease(order.leases, order.gpus, order.gpu)
            if not held:
                signal.sigtimedwait(WAKE, LEASE_S)
        if order.is_revoked:
            return ended(kind="cancelled", message="it was told to end before it began")
        if held:
            order.env |= {"CUDA_VISIBLE_DEVICES": ",".join(held), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        group = limit(order)
        return supervise(order, group)
    except OSError as error:  # no room for another process, for a lease, or for the word that it runs
        return ended(kind="infra", message=f"it could not be started: {error}")
    finally:
        if group:
            cgroups.dissolve(group)
        leases.release(held)


def limit(order: Order) -> str | None:
    """Make the control group that limits the job's memory; where there can be none, the log says so."""
    if order.memory_gib is None:
        return None
    name = f"metta-sweep-{os.getpid()}-{os.urandom(3).hex()}"
    group = cgroups.limited(cgroups.own_groups(), name, order.memory_gib)
    if group is None:
        say(f"memory is not limited to {order.memory_gib:g} GiB: no control group can be made here")
    return group


def supervise(order: Order, group: str | None) -> dict[str, object]:
    """Start the job, and see to it that it ends, and all that it started with it."""
    ooms, began = oom_kills(), monotonic()
    life, mine = os.pipe()  # the job has one end; when the other one is closed, the kernel kills it
    try:
        pid, refusal = start(order, life, group)
        if not refusal:
            words = claims.identity(pid)
            write_durably(
                order.path(STARTED), encoded({"supervisor": claims.identity(os.getpid()), "job": words})
            )
        why = watch(pid, order, began)
        seconds = monotonic() - began
        status = os.waitstatus_to_exitcode(clear_up(pid))
    finally:
        os.close(mine)
        os.close(life)
    code, sign = (status, None) if status >= 0 else (None, -status)
    if refusal:
        return ended(code=code, signal=sign, message=refusal)
    kind, message = verdict(
        order, status, why, oom_kills() > ooms, group is not None and cgroups.ran_out(group)
    )
    return ended(code=code, signal=sign, kind=kind, message=message, seconds=seconds)


def start(order: Order, life: int, group: str | None) -> tuple[int, str]:
    """Start the job.

    Returns:
        Its pid, and why it cannot be executed; empty when it runs.
    """
    reader, writer = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if not pid:
        try:
            prepare(order, parent, life, group)
            code, refusal = execute(order)
        except BaseException as error:
            code, refusal = NOT_EXECUTABLE, f"it could not be prepared: {error}"
        os.write(writer, refusal.encode(errors="replace"))
        os._exit(code)
    os.close(writer)
    with suppress(OSError):
        os.setpgid(pid, pid)  # both do it, for either may be first
    with open(reader, "rb") as refused:
        refusal = refused.read().decode()
    if refusal:
        say(refusal)
    return pid, refusal


def prepare(order: Order, parent: int, life: int, group: str | None) -> None:
    """Make this process what the job is to be, all but its program."""
    os.setpgid(0, 0)
    set_for_process(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_inheritable(life, True)
    # a whole group dies so, and a program that changes its user, too; but one may close what it inherits
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC)
    if os.getppid() != parent:
        os._exit(NOT_EXECUTABLE)
    if group:
        try:
            cgroups.join(group)
        except OSError as error:
            say(f"memory is not limited to {order.memory_gib:g} GiB: {error}")
    for sign in DEFAULT:
        signal.signal(sign, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def execute(order: Order) -> tuple[int, str]:
    """Become the job's program.

    Returns:
        The exit code and the reason, when that is not possible.
    """
    name = order.command[0]
    try:
        os.chdir(order.cwd)
    except (OSError, ValueError) as error:
        return NOT_EXECUTABLE, f"the working directory {order.cwd!r} cannot be entered: {error}"
    try:
        os.execvpe(name, order.command, order.env)
    except FileNotFoundError:
        from shutil import which  # here, because only mistakes need it

        if which(name, path=order.env.get("PATH")):
            return NOT_FOUND, f"{name!r} names an interpreter in its first line that is not there"
        where = f"in {order.cwd}" if "/" in name else f"in PATH={order.env.get('PATH', os.defpath)}"
        return NOT_FOUND, f"there is no program {name!r} {where}"
    except (OSError, ValueError) as error:
        return NOT_EXECUTABLE, f"{name!r} cannot be executed: {error}"


def watch(pid: int, order: Order, began: float) -> str | None:
    """Wait until the job exits, and end it when it is time.

    Returns:
        Why it was ended: ``cancelled`` or ``timeout``; None when it ended by itself.
    """
    why, kill_at = None, inf
    timeout_at = inf if order.timeout_s is None else began + order.timeout_s
    while not has_exited(pid):
        now = monotonic()
        if why is None and (order.is_revoked or now >= timeout_at):
            why = "cancelled" if order.is_revoked else "timeout"
            timeout_at, kill_at = inf, now + order.grace_s
            kill(pid, signal.SIGTERM)
        if now >= kill_at:
            kill_at = inf
            kill(pid, signal.SIGKILL)
        signal.sigtimedwait(WAKE, max(0.0, min(LOOK_S, timeout_at - now, kill_at - now)))
    return why


def has_exited(pid: int) -> bool:
    """Whether the job has exited; it stays a zombie, so that nobody else gets its group."""
    while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG):
        if found.si_pid == pid:
            return True
        os.waitpid(found.si_pid, 0)  # something that the job has started, and did not wait for
    return False


def clear_up(pid: int) -> int:
    """Kill what a job that has exited left behind, in its group or in sessions of its own.

    Whoever outlives his parent has become a child of this process.

    Returns:
        The job's status.
    """
    kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    deadline = monotonic() + GONE_S
    with suppress(ChildProcessError):  # all of them are gone
        while monotonic() < deadline:
            for child in children():
                with suppress(OSError):
                    os.kill(child, signal.SIGKILL)
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                sleep(0.002)
    return status


def children() -> list[int]:
    """The children of this process, where the kernel tells them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def kill(group: int, sign: signal.Signals) -> None:
    """Send a signal to a process group, as far as this user may."""
    with suppress(OSError):
        os.killpg(group, sign)


def verdict(order: Order, status: int, why: str | None, oom: bool, limit_met: bool) -> tuple[str | None, str]:
    """The kind of a job's failure, where that is certain, and a sentence on its end.

    Args:
        order: What was asked for.
        status: Its exit code, or minus the signal that it died of.
        why: Why it was ended, if it was.
        oom: Whether the kernel has killed some process of the machine meanwhile because memory ran out.
        limit_met: Whether it has killed one of this job, because it wanted more than it may have.
    """
    if why == "cancelled":
        return why, "it was told to end"
    if why == "timeout":
        return why, f"it ran longer than {order.timeout_s:g} s"
    if limit_met and status:
        return "oom", f"the kernel killed it because it wanted more memory than {order.memory_gib:g} GiB"
    if status >= 0:
        return None, f"it exited with code {status}" if status else ""
    if -status not in FROM_OUTSIDE:
        return None, f"it died of signal {-status} ({signal.strsignal(-status)})"
    if status == -signal.SIGKILL and oom:
        return "oom", "the kernel killed it because memory ran out"
    return "infra", f"somebody killed it with {signal.Signals(-status).name}"


def ended(
    code: int | None = None,
    signal: int | None = None,
    kind: str | None = None,
    message: str = "",
    seconds: float = 0.0,
) -> dict[str, object]:
    """The fields of ``JobEnd``, and the time."""
    return {
        "code": code,
        "signal": signal,
        "kind": kind,
        "message": message,
        "seconds": seconds,
        "at": time(),
    }


def keep(order: Order, end: dict[str, object]) -> None:
    """Write down how the job ended, as soon as there is room; not when somebody has deleted its folder."""
    while claims.is_own(order.folder):
        try:
            write_durably(order.path(EXIT), encoded(end))
        except OSError:
            sleep(ROOM_S)
        else:
            return


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it was started."""
    try:
        with open(VMSTAT) as file:
            counts = dict(line.split() for line in file)
    except OSError:
        return 0
    return int(counts.get("oom_kill", 0))


def set_for_process(option: int, value: int) -> None:
    """Ask the kernel for something; where Python cannot, the job is looked after a little less well."""
    with suppress(ImportError, OSError, AttributeError):
        from ctypes import CDLL  # here, because some builds lack it

        CDLL(None).prctl(option, value)


def say(sentence: str) -> None:
    """Say something in the job's log."""
    with suppress(OSError):
        os.write(2, f"metta-sweep: {sentence}\n".encode(errors="replace"))
