"""What tests of stores share: where a ledger lies, the lines of one with three chunks, and an S3 server."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from metta.sweep.stores.ledgers import FileLedger
from metta.sweep.stores.objects import Objects
from tests.stores.chunks import chunk
from tests.stores.weed import BUCKET, SECRETS, Weed


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


@pytest.fixture(scope="session")
def _weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    weed = Weed(tmp_path_factory.mktemp("weed"))
    weed.start()
    yield weed
    weed.kill()


@pytest.fixture
def weed(_weed: Weed, monkeypatch: pytest.MonkeyPatch) -> Weed:
    """An S3 server for all tests that only need one; the environment leads to it."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    settings = {
        "ACCESS_KEY_ID": "owner",
        "SECRET_ACCESS_KEY": SECRETS["owner"],
        "ENDPOINT_URL_S3": _weed.url,
        "CONFIG_FILE": os.devnull,
        "SHARED_CREDENTIALS_FILE": os.devnull,
        "EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return _weed


@pytest.fixture
def objects(weed: Weed) -> Iterator[Objects]:
    """Objects of a test's own."""
    client = weed.client()
    yield Objects(BUCKET, f"tests/{uuid4().hex}", client)
    client.close()
