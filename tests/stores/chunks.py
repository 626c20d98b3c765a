"""Chunks to fill ledgers with, and what is found in them."""

from pathlib import Path

from metta.sweep.contracts.chunks import Chunk
from metta.sweep.contracts.events import Reported
from metta.sweep.stores.ledgers import FileLedger


def chunk(n: int, writer: str = "me", size: int = 0) -> Chunk:
    """A chunk whose line is at least ``size`` bytes long."""
    report = Reported(at=1.5, trial=n, seq=0, step=1, metrics={"loss": 0.1}, checkpoint="x" * size or None)
    return Chunk(n=n, writer=writer, epoch=1, events=(report,))


def numbers(path: Path, after: int = -1) -> list[int]:
    """Numbers of the chunks in a ledger."""
    return [found.n for found in FileLedger(path).read(after)]
