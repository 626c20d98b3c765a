"""Folders of attempts: each belongs to the ledger that wants the attempt, and holds nothing of others."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from metta.sweep.contracts.advances import TrialOrder
from metta.sweep.contracts.attempts import Attempt
from metta.sweep.executors.protocol import write_durably

OWNER = "ledger"
"""The file in an attempt's folder that says which ledger wants the attempt."""


def take_folder(order: TrialOrder, attempt: Attempt) -> None:
    """Make the folder of an attempt that of its ledger; what a trial of another one has left is deleted.

    Such a trial has the same path: somebody has deleted its sweep, and a new one of that name numbers its
    trials in the same way.

    Args:
        order: What is run, and for which ledger.
        attempt: The same attempt, with the folder that it has on this machine.

    Raises:
        OSError: When it cannot be taken for now.
    """
    if not order.ledger_id:
        return
    folder = Path(attempt.folder)
    found = _owner_of(folder)
    if found == order.ledger_id:
        return
    # an attempt that a former version has begun says nothing
    is_foreign = found is not None or not order.has_begun
    if is_foreign and folder.exists():
        aside = folder.with_name(f".{folder.name}-{os.urandom(6).hex()}")
        with suppress(FileNotFoundError):
            folder.rename(aside)  # in one step: nobody finds a half of it
        shutil.rmtree(aside, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(str(folder / OWNER), order.ledger_id.encode())


def _owner_of(folder: Path) -> str | None:
    try:
        return (folder / OWNER).read_text("utf-8")
    except FileNotFoundError:
        return None
