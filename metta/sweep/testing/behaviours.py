"""What trials do that put an executor to the test: as Python objectives, and as programs of the same code.

The objective of a behaviour is ``metta.sweep.testing.behaviours:NAME``, its program
``{python} -m metta.sweep.testing.behaviours NAME``. What they have done, they note in the folder that the
parameter ``shared`` names.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.errors import Infeasible
from metta.sweep.trial import current_trial

if TYPE_CHECKING:
    from metta.sweep.contracts.trials import Trial

HUGE_BYTES = 20_000_000
STEPS = 3
OFTEN_S = 0.02

TICKING = "while :; do echo >>ticks; sleep 0.05; done"
"""A program that a trial leaves behind, and by whose file one sees whether it still runs."""


def shared(trial: "Trial", name: str) -> Path:
    """A file of the test."""
    return Path(trial.params["shared"], name)


def note(trial: "Trial", name: str, text: object = "") -> None:
    """Append a line to a file of the test."""
    with shared(trial, name).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


@contextmanager
def noted(trial: "Trial") -> Iterator[None]:
    """Notes from which step it goes on, and that it has come to an end of its own."""
    note(trial, "begun", begun_at(trial))
    try:
        yield
    finally:
        note(trial, "left")


def begun_at(trial: "Trial") -> int:
    """The step of the checkpoint that it goes on from."""
    return int(trial.resume_from.read_text("utf-8")) if trial.resume_from else 0


def step_to(trial: "Trial", step: int) -> None:
    """Write a checkpoint, and report it."""
    checkpoint = trial.checkpoint_dir / f"step-{step}"
    checkpoint.write_text(str(step), "utf-8")
    trial.report(step, checkpoint=checkpoint, loss=step / 10)


def wait_for_gate(trial: "Trial") -> None:
    """Wait until the test opens the gate."""
    while not shared(trial, "gate").exists():
        sleep(OFTEN_S)


def told(trial: "Trial") -> float:
    """Writes down what it is told."""
    known = {
        "params": trial.params,
        "number": trial.number,
        "seed": trial.seed,
        "attempt": trial.attempt,
        "cpu": trial.resources.cpu,
        "folder": str(trial.checkpoint_dir.parent),
    }
    shared(trial, "told").write_text(json.dumps(known), "utf-8")
    return 0.25


def gated(trial: "Trial") -> float:
    """Runs until the gate is open."""
    with noted(trial):
        wait_for_gate(trial)
    return 0.5


def climbing(trial: "Trial") -> dict[str, float]:
    """Reports its steps; the test may hold it before the last one."""
    with noted(trial):
        for step in range(begun_at(trial) + 1, STEPS + 1):
            if step == STEPS and trial.params.get("held"):
                wait_for_gate(trial)
            step_to(trial, step)
    return {"loss": 0.125}


def endless(trial: "Trial") -> None:
    """Reports until it is told to end."""
    step = begun_at(trial)
    with noted(trial):
        while True:
            step += 1
            step_to(trial, step)
            sleep(OFTEN_S)


def deaf(trial: "Trial") -> None:
    """Does not want to end, and has started a program that does not either."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sh", "-c", f"trap '' TERM; {TICKING}"], cwd=trial.params["shared"])
    with noted(trial):
        while True:
            sleep(1)


def failing(trial: "Trial") -> None:
    """Raises."""
    raise ValueError("no luck today")


def infeasible(trial: "Trial") -> None:
    """Knows that its parameters make no sense."""
    raise Infeasible("the rate is too small")


def not_a_number(trial: "Trial") -> None:
    """Reports what is no number."""
    trial.report(1, loss=float("nan"))


def silent(trial: "Trial") -> None:
    """Gives no result."""


def out_of_memory(trial: "Trial") -> None:
    """Needs more memory than there is."""
    raise MemoryError


def crashing(trial: "Trial") -> None:
    """Dies as faulty libraries do."""
    os.kill(os.getpid(), signal.SIGSEGV)


def killed(trial: "Trial") -> None:
    """Dies as if somebody had killed it."""
    os.kill(os.getpid(), signal.SIGKILL)


def wordy(trial: "Trial") -> None:
    """Prints to both streams, and dies."""
    _print(b"out\n")
    _print(b"err\n", sys.stderr.fileno())
    os._exit(3)


def huge(trial: "Trial") -> None:
    """Prints a line that fills the disk rather than the screen, and dies."""
    for _ in range(HUGE_BYTES // 1000):
        _print(b"x" * 1000)
    _print(b"end")
    os._exit(3)


def garbled(trial: "Trial") -> None:
    """Prints what is no text, and dies; characters of three bytes are cut somewhere."""
    _print("\N{EURO SIGN}".encode() * 2000 + b"\xff" + b"x" * trial.number)
    os._exit(3)


def _print(data: bytes, stream: int = 1) -> None:
    while data:
        data = data[os.write(stream, data) :]


BEHAVIOURS: dict[str, Callable[[Any], object]] = {
    behaviour.__name__: behaviour
    for behaviour in (
        told,
        gated,
        climbing,
        endless,
        deaf,
        failing,
        infeasible,
        not_a_number,
        silent,
        out_of_memory,
        crashing,
        killed,
        wordy,
        huge,
        garbled,
    )
}
"""Every behaviour by its name."""


def main() -> None:
    """Behave as the first argument says, as the program of a trial."""
    trial = current_trial()
    if (result := BEHAVIOURS[sys.argv[1]](trial)) is not None:
        trial.result(result)


if __name__ == "__main__":
    main()
