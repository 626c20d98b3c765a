"""What tests of packing share: a store, and packers with and without consent to pickle."""

import pytest

from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.data import DataStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DataStore:
    return DataStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def packer(store: DataStore) -> Packer:
    return Packer(store, pickle=False)


@pytest.fixture(scope="module")
def pickler(store: DataStore) -> Packer:
    return Packer(store, pickle=True)
