"""Objectives that do what training code does to the process it runs in."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

from metta.sweep import Trial

LONG_S = 60
"""Longer than any test waits."""


def returns(params: dict[str, Any]) -> Any:
    """Whatever the parameter says."""
    return VALUES[params["what"]]()


def numpy_scalar() -> Any:
    import numpy

    return {"accuracy": numpy.float32(0.5), "hits": numpy.int64(3), "loss": numpy.array(0.25)}


VALUES: dict[str, Callable[[], Any]] = {
    "number": lambda: 0.5,
    "dict": lambda: {"accuracy": 0.5},
    "numpy": numpy_scalar,
    "string": lambda: "good",
    "none": lambda: None,
    "nan": lambda: {"loss": float("nan")},
    "inf": lambda: float("inf"),
    "empty": dict,
    "raise": lambda: 1 / 0,
}


async def asynchronous(params: dict[str, Any]) -> dict[str, float]:
    await asyncio.sleep(0.01)
    return {"accuracy": params["x"]}


def learns(trial: Trial) -> None:
    """Reports three steps, each with a checkpoint."""
    for step in range(1, 4):
        checkpoint = trial.checkpoint_dir / str(step)
        checkpoint.write_text(str(step))
        trial.report(step, accuracy=step / 10, checkpoint=checkpoint)


def careless(trial: Trial) -> None:
    """Steps that do not rise, and a checkpoint that does not exist."""
    for step in (1, 3, 3, 2, 4):
        trial.report(step, accuracy=0.5)
    trial.report(5, accuracy=0.5, checkpoint=trial.checkpoint_dir / "missing")


def tells_much(trial: Trial) -> dict[str, float]:
    metrics: dict[str, Any] = {f"metric-{number}": number for number in range(10_000)}
    trial.report(1, **metrics)
    return {"size": len(trial.params["text"])}


def dies(trial: Trial) -> dict[str, float]:
    DEATHS[trial.params["how"]]()
    return {"accuracy": float(trial.number)}


def segfault() -> None:
    ctypes.string_at(0)


def leaves_a_child() -> None:
    subprocess.Popen(["sleep", str(LONG_S)])
    segfault()


def leaves_a_fork() -> None:
    """The child holds all that its parent had opened."""
    if os.fork() == 0:
        time.sleep(LONG_S)
    segfault()


def forgets_to_leave_the_child() -> None:
    if os.fork() == 0:
        time.sleep(0.3)


def scribbles(delay_s: float = 0) -> None:
    time.sleep(delay_s)
    for descriptor in opened():
        with suppress(OSError):
            os.write(descriptor, b'["nonsense"]\n{"\n')
    time.sleep(LONG_S)


def leaves_a_scribbler() -> None:
    if os.fork() == 0:
        scribbles(delay_s=0.3)


def closes_everything() -> None:
    os.closerange(0, max(opened()) + 1)
    time.sleep(LONG_S)


def opened() -> list[int]:
    """All but its streams; numbers are those of its pool, and as high as that has opened files."""
    return [number for name in os.listdir("/proc/self/fd") if (number := int(name)) > 2]


def runs_out_of_memory() -> None:
    bytearray(1 << 60)


def breakpoint_without_keyboard() -> None:
    breakpoint()


DEATHS: dict[str, Callable[[], object]] = {
    "not": lambda: None,
    "not soon": lambda: time.sleep(0.8),
    "segfault": segfault,
    "_exit 0": lambda: os._exit(0),
    "_exit 3": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit("enough"),
    "MemoryError": runs_out_of_memory,
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "real-time signal": lambda: os.kill(os.getpid(), 40),
    "SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
    "child": leaves_a_child,
    "fork": leaves_a_fork,
    "forgets": forgets_to_leave_the_child,
    "scribbles": scribbles,
    "leaves a scribbler": leaves_a_scribbler,
    "closes": closes_everything,
    "breakpoint": breakpoint_without_keyboard,
}


def hangs(trial: Trial) -> None:
    """Reports its process and the one it has started, and then hangs in its own way."""
    sleeper = subprocess.Popen(["sleep", str(LONG_S)])
    trial.report(1, pid=os.getpid(), started=sleeper.pid)
    HANGS[trial.params.get("how", "sleep")](trial)


def ignores_sigterm(trial: Trial) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(LONG_S)


def holds_the_interpreter(trial: Trial) -> None:
    """As long C code does."""
    ctypes.PyDLL(None).sleep(LONG_S)


def hears(trial: Trial) -> None:
    for step in range(2, 20 * LONG_S):
        time.sleep(0.05)
        trial.report(step, accuracy=0.5)


def hears_and_stays(trial: Trial) -> None:
    try:
        hears(trial)
    finally:
        time.sleep(LONG_S)


HANGS: dict[str, Callable[[Trial], object]] = {
    "not": lambda trial: None,
    "sleep": lambda trial: time.sleep(LONG_S),
    "ignores SIGTERM": ignores_sigterm,
    "holds the interpreter": holds_the_interpreter,
    "hears": hears,
    "hears and stays": hears_and_stays,
}


def naps(params: dict[str, Any]) -> dict[str, float]:
    time.sleep(params["s"])
    return {"pid": os.getpid()}


def chatters(trial: Trial) -> None:
    trial.report(1, accuracy=0.5)
    time.sleep(0.05)


def environment(params: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}


def place(params: dict[str, Any]) -> dict[str, float]:
    """Where it runs; it goes elsewhere, as some training code does."""
    here = Path.cwd()
    os.chdir("/")
    return {"at_home": float(here == Path(params["home"])), "argv": float(sys.argv == params["argv"])}


def writes(params: dict[str, Any]) -> dict[str, float]:
    sys.stdout.write(params.get("text", "") * params.get("times", 1))
    if raw := params.get("raw"):
        os.write(1, bytes.fromhex(raw))
    if late := params.get("late"):
        Timer(0.2, print, [late]).start()
    if child := params.get("child"):
        subprocess.run(["echo", child], check=True)
    if params.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"accuracy": 0.5}


def floods(params: dict[str, Any]) -> dict[str, float]:
    while not params.get("quiet"):
        os.write(1, b"x" * 65536)
    return {"accuracy": 0.5}


def breaks_streams(params: dict[str, Any]) -> dict[str, float]:
    match params["how"]:
        case "close":
            sys.stdout.close()
        case "replace":
            sys.stdout = None  # as in programs without a console
        case "descriptor":
            os.close(1)
    return {"accuracy": 0.5}


def eats(params: dict[str, Any]) -> dict[str, float]:
    """Joins a memory cgroup, and takes more than that allows."""
    Path(params["cgroup"], "cgroup.procs").write_text(str(os.getpid()))
    eaten = [bytearray(os.urandom(1 << 20)) for _ in range(1024)]
    return {"accuracy": len(eaten)}


def does(trial: Trial) -> dict[str, float]:
    """What its parameters say: write, report, sleep, die."""
    params = trial.params
    print(params.get("text", ""), end="", flush=True)
    for step in range(1, params.get("steps", 0) + 1):
        trial.report(step, accuracy=0.5)
    time.sleep(params.get("s", 0))
    if params.get("die"):
        os._exit(3)
    return {"pid": os.getpid()}
