"""What tests of stores share: where a ledger lies, the lines of one with three chunks, and an S3 server."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from metta.sweep.stores.ledgers import FileLedger
from metta.sweep.stores.objects import Objects
from tests.stores.chunks import chunk
from tests.stores.weed import BUCKET, Weed, running_weed


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


@pytest.fixture(scope="package")
def _weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """One server for all tests of stores."""
    with running_weed(tmp_path_factory.mktemp("weed")) as weed:
        yield weed


@pytest.fixture
def objects(weed: Weed) -> Iterator[Objects]:
    """Objects of a test's own."""
    client = weed.client()
    yield Objects(BUCKET, f"tests/{uuid4().hex}", client)
    client.close()
