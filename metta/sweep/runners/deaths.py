"""Deaths: what the end of a process says of the code that it ran."""

import signal
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Literal, TypeAlias

from metta.sweep.contracts.failures import FROM_OUTSIDE

VMSTAT = Path("/proc/vmstat")


DeathKind: TypeAlias = Literal["user", "oom", "infra"]
"""The failure kinds that a death can be."""


def cause_of(status: int, ooms: int) -> tuple[DeathKind, str]:
    """Why a process has died that its pool has not killed.

    Args:
        status: Its exit code, or minus the signal that it died of.
        ooms: What ``oom_kills_lately`` said when it began.
    """
    if status >= 0:
        return "user", f"the process exited with code {status}"
    if -status not in FROM_OUTSIDE:
        return "user", f"the process died of signal {-status} ({signal.strsignal(-status)})"
    if status == -signal.SIGKILL and oom_kills() > ooms:
        return "oom", "the kernel killed the process because memory ran out"
    return "infra", f"somebody killed the process with {signal.Signals(-status).name}"


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it was started."""
    if not VMSTAT.exists():
        return 0
    _, _, rest = VMSTAT.read_text().partition("\noom_kill ")
    return int(rest.partition("\n")[0] or 0)


def oom_kills_lately() -> int:
    """That number of half a second ago at most: reading it takes as long as a short trial."""
    return _oom_kills_at(int(2 * monotonic()))


@lru_cache(maxsize=1)
def _oom_kills_at(half_second: int) -> int:
    return oom_kills()
