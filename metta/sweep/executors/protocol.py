"""The files of a job's folder, by which it is told what to do and others learn what became of it.

``trial.json`` tells the job, ``reports.jsonl`` is what it reports, ``log.txt`` what it prints. ``claim`` says
who looks after it, ``started.json`` that it runs, ``stop`` that it is to end, ``exit.json`` how it did.

Needs the standard library alone, and little of that: a supervisor is started for each job.
"""

import json
import os

TRIAL = "trial.json"
REPORTS = "reports.jsonl"
LOG = "log.txt"
CLAIM = "claim"
STARTED = "started.json"
STOP = "stop"
EXIT = "exit.json"


def write_durably(path: str, data: bytes) -> None:
    """Write a file so that after any crash there is all of it or nothing.

    Raises:
        OSError: When it cannot be written.
    """
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}-{os.urandom(6).hex()}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def encoded(value: object) -> bytes:
    """A value as JSON, with an end of line for people who look at the file."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
