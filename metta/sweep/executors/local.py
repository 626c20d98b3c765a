"""The local executor: persistent runner processes on the machine of the worker, and jobs beside it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import gettempdir
from time import time

from pydantic import JsonValue

from metta.sweep.contracts.components import count_problems
from metta.sweep.contracts.distributions import is_number
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.contracts.jobs import (
    PYTHON,
    REPORTS_VARIABLE,
    TRIAL_VARIABLE,
    JobEnd,
    JobSpec,
    JobState,
    thread_limits,
)
from metta.sweep.contracts.models import Wire
from metta.sweep.executors import claims
from metta.sweep.executors.base import JobExecutor
from metta.sweep.executors.devices import devices
from metta.sweep.executors.protocol import (
    CLAIM,
    EXIT,
    LOG,
    REPORTS,
    STARTED,
    STOP,
    TRIAL,
    encoded,
    write_durably,
)

LOG_BYTES = 4096
"""So much of the end of a log is evidence."""

CLAIM_S = 10.0
"""Whoever has claimed a job's folder has said who he is by then."""

# Without its package's own imports, a supervisor is there in two thirds of the time. Its last argument is for
# people who look at the processes of the machine.
SUPERVISE = """\
import sys
for name in ("metta", "metta.sweep", "metta.sweep.executors"):
    sys.modules[name] = package = type(sys)(name)
    package.__path__ = []
package.__path__ += [sys.argv[1]]
from metta.sweep.executors.supervisor import main
main()
"""


class LocalRequest(Wire):
    """What a supervisor on this machine is asked for.

    Args:
        name: The job's name.
        command: Program and arguments; ``{python}`` stands for the interpreter of whoever submits it.
        env: Environment variables besides those of whoever submits it.
        cwd: Working directory; None means that of whoever submits it.
        folder: Absolute path of the folder with the files of the protocol.
        trial: What the job is told in ``trial.json``.
        timeout_s: Longest run in seconds; None means no limit.
        grace_s: So long a job that is told to end may take, before it is killed.
        cpu: Cores; also the number of threads that BLAS and OpenMP get.
        memory_gib: How much memory it may use, in GiB; None means no limit.
        gpu: How many devices it needs.
        gpus: Devices that it may get; None means those that whoever submits it may use.
    """

    name: str
    command: tuple[str, ...]
    env: dict[str, str]
    cwd: str | None
    folder: str
    trial: dict[str, JsonValue]
    timeout_s: float | None
    grace_s: float
    cpu: float
    memory_gib: float | None
    gpu: float
    gpus: tuple[str, ...] | None

    def path(self, name: str) -> Path:
        """A file in the job's folder."""
        return Path(self.folder, name)


class LocalExecutor(JobExecutor[LocalRequest]):
    """Runs trials on this machine, each in a process of its own at any time.

    Python objectives run in processes that die with their worker. Jobs outlive it: each has a small
    supervisor, which keeps its devices, its time limit and its exit code, and is found again. What ends
    all processes of a container or of a service ends jobs, too; they are then lost, and tried again.

    Args:
        max_parallel: Trials that may run at the same time; None means one for each core.
        max_trials_per_process: So many trials a process runs before a new one takes its place;
            None means no limit. Helps against training code that leaks memory.
        timeout: Longest run of one attempt in seconds, unless the sweep says another one.
        gpus: Ids or UUIDs of the devices that jobs lease; None means those that the worker may use.
    """

    def __init__(
        self,
        max_parallel: int | None = None,
        max_trials_per_process: int | None = None,
        timeout: float | None = None,
        gpus: Sequence[str | int] | None = None,
    ) -> None:
        problems = count_problems(max_parallel=max_parallel, max_trials_per_process=max_trials_per_process)
        if timeout is not None and not (is_number(timeout) and timeout > 0):
            problems.append(f"timeout has to be a positive number of seconds, got {timeout!r}")
        if gpus is not None and not _are_devices(gpus):
            problems.append(f"gpus has to be a list of different ids, such as [0, 1], got {gpus!r}")
        if problems:
            raise DefinitionError(problems, type(self).__name__)
        self.max_parallel = max_parallel or len(os.sched_getaffinity(0))
        self.max_trials_per_process = max_trials_per_process
        self.timeout = timeout
        self.gpus = None if gpus is None else tuple(map(str, gpus))

    def build_request(self, spec: JobSpec) -> LocalRequest:
        """What a supervisor is asked for."""
        attempt, job = spec.attempt, spec.job
        return LocalRequest(
            name=spec.name,
            command=tuple(job.command),
            env=job.env,
            cwd=job.cwd,
            folder=attempt.folder,
            trial={
                "sweep": spec.sweep_id,
                "number": attempt.trial,
                "segment": attempt.segment,
                "attempt": attempt.attempt,
                "params": attempt.params,
                "seed": attempt.seed,
                "until_step": attempt.until_step,
                "step": attempt.step,
                "resume_from": attempt.resume_from,
                "checkpoint_dir": str(Path(attempt.folder, "checkpoints")),
                "folder": attempt.folder,
                "resources": attempt.resources.model_dump(),
                "reports": str(Path(attempt.folder, REPORTS)),
            },
            timeout_s=spec.timeout_s or self.timeout,
            grace_s=spec.grace_s,
            cpu=attempt.resources.cpu,
            memory_gib=attempt.resources.memory_gib,
            gpu=attempt.resources.gpu,
            gpus=self.gpus,
        )

    def describe(self, request: LocalRequest) -> str:
        """The command, its environment and its limits, a line each."""
        lines = {
            "command": shlex.join(request.command),
            "cwd": request.cwd or "(the worker's)",
            "folder": request.folder,
            "env": " ".join(f"{name}={shlex.quote(value)}" for name, value in _variables(request).items()),
            "limits": ", ".join(_limits(request)),
        }
        return "\n".join([f"{request.name} on this machine", *(f"  {k:<8} {v}" for k, v in lines.items())])

    def submit(self, request: LocalRequest) -> None:
        """Let a supervisor claim the job's folder, and begin."""
        if claims.is_claimed(request.folder):
            return
        gpus = _devices_for(request)
        os.makedirs(request.folder, exist_ok=True)
        write_durably(str(request.path(TRIAL)), encoded(request.trial))
        order = {
            "folder": request.folder,
            "command": [word.replace(PYTHON, sys.executable) for word in request.command],
            "env": {**thread_limits(max(1, int(request.cpu))), **os.environ, **_variables(request)},
            "cwd": os.path.abspath(request.cwd or os.curdir),
            "timeout_s": request.timeout_s,
            "grace_s": request.grace_s,
            "memory_gib": request.memory_gib,
            "gpu": int(request.gpu),
            "gpus": gpus,
            "leases": str(Path(gettempdir(), f"metta-sweep-gpus-{os.getuid()}")),
        }
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", SUPERVISE, str(Path(__file__).parent), request.name],
            input=encoded(order),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            check=False,
        )
        if not claims.is_claimed(request.folder):
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise OSError(f"{request.name} was not started: {said or 'its supervisor died'}")

    def observe(self, request: LocalRequest) -> JobState:
        """What the files in the job's folder say, and whether its supervisor is alive."""
        if end := _end(request):
            return JobState(status="ended", end=end)
        if not claims.is_claimed(request.folder):
            return JobState(status="unknown")
        holder = claims.holder(request.folder)
        if claims.lives(holder):
            if request.path(STARTED).exists():
                return JobState(status="running")
            note = f"it waits until {_devices_are(request.gpu)} free" if request.gpu else ""
            return JobState(status="waiting", note=note)
        if not holder and time() - request.path(CLAIM).stat().st_mtime < CLAIM_S:
            return JobState(status="waiting")
        # it may have ended between the two looks
        return JobState(status="ended", end=_end(request) or JobEnd(kind="lost", message=_trace_of(holder)))

    def stop(self, request: LocalRequest) -> None:
        """Leave word for the job's supervisor, and wake it."""
        if request.path(EXIT).exists():
            return
        os.makedirs(request.folder, exist_ok=True)
        write_durably(str(request.path(STOP)), b"")
        claims.wake(claims.holder(request.folder))

    def collect(self, request: LocalRequest) -> str:
        """The end of ``log.txt``."""
        try:
            with request.path(LOG).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
                return file.read(LOG_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return ""


def _are_devices(gpus: object) -> bool:
    if not isinstance(gpus, list | tuple):
        return False
    plain = all(isinstance(gpu, int | str) and not isinstance(gpu, bool) and gpu != "" for gpu in gpus)
    return plain and len({str(gpu) for gpu in gpus}) == len(gpus)


def _devices_for(request: LocalRequest) -> list[str]:
    """The devices that a job may get.

    Raises:
        DefinitionError: When it needs others.
    """
    if not request.gpu:
        return []
    gpus = devices() if request.gpus is None else request.gpus
    problems = []
    if request.gpu != int(request.gpu):
        problems.append(
            f"resources.gpu has to be a whole number, got {request.gpu:g}: devices are not shared"
        )
    elif request.gpu > len(gpus):
        which = f": {', '.join(gpus)}" if gpus else ""
        problems.append(
            f"resources.gpu is {request.gpu:g}, but this machine offers {len(gpus)}{which};"
            " ask for fewer, or name more with LocalExecutor(gpus=[...])"
        )
    if problems:
        raise DefinitionError(problems, f"the job {request.name}")
    return list(gpus)


def _variables(request: LocalRequest) -> dict[str, str]:
    """What a job finds in its environment besides the worker's."""
    return {
        "PYTHONUNBUFFERED": "1",
        **request.env,
        TRIAL_VARIABLE: str(request.path(TRIAL)),
        REPORTS_VARIABLE: str(request.path(REPORTS)),
    }


def _limits(request: LocalRequest) -> Iterator[str]:
    """What a job may use, in words."""
    yield f"{max(1, int(request.cpu))} threads"
    if request.memory_gib is not None:
        yield f"{request.memory_gib:g} GiB of memory"
    if request.gpu:
        yield (
            f"{request.gpu:g} of the devices {', '.join(request.gpus)}"
            if request.gpus
            else f"{request.gpu:g} GPU"
        )
    if request.timeout_s is not None:
        yield f"{request.timeout_s:g} s"
    yield f"{request.grace_s:g} s of grace"


def _devices_are(gpu: float) -> str:
    return "a device is" if gpu == 1 else f"{gpu:g} devices are"


def _end(request: LocalRequest) -> JobEnd | None:
    """How a job ended, when its supervisor has written that down."""
    try:
        return JobEnd.model_validate_json(request.path(EXIT).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = f"{request.path(EXIT)} does not say how the job ended: {error}"
        return JobEnd(kind="lost", message=message)


def _trace_of(holder: dict[str, object]) -> str:
    """What is known of a job whose supervisor is gone."""
    if not holder:
        return "its supervisor is gone, and left no word of itself"
    pid, host = holder.get("pid"), holder.get("host")
    if host != os.uname().nodename:
        return f"its supervisor ran on {host}, and this is {os.uname().nodename}"
    if holder.get("boot_id") != claims.boot_id():
        return "the machine was started anew meanwhile"
    return f"its supervisor (process {pid}) is gone, and has not written down how the job ended"
