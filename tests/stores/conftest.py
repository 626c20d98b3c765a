"""What tests of ledgers share: where one lies, and the lines of one with three chunks."""

from pathlib import Path

import pytest

from metta.sweep.stores.ledgers import FileLedger
from tests.stores.chunks import chunk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger lies."""
    return tmp_path / "store" / "ledger.jsonl"


@pytest.fixture
def three(path: Path) -> list[bytes]:
    """Lines of a ledger with three chunks."""
    ledger = FileLedger(path)
    for n in range(3):
        ledger.commit(chunk(n))
    ledger.close()
    return path.read_bytes().splitlines(keepends=True)
