"""The artifact store in a bucket, and stores by their addresses."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metta.sweep.contracts.blobs import Hashed
from metta.sweep.contracts.errors import DefinitionError, StoreError
from metta.sweep.pipeline.packing import Packer
from metta.sweep.stores.files import FileStore
from metta.sweep.stores.objects import Objects
from metta.sweep.stores.s3 import S3Store
from metta.sweep.stores.urls import store_of
from tests.stores.asked import Asked
from tests.stores.chunks import chunk
from tests.stores.test_files import NAMES
from tests.stores.weed import Weed


@pytest.fixture
def store(objects: Objects, tmp_path: Path) -> S3Store:
    return S3Store(objects, tmp_path / "home")


def test_every_id_is_kept_apart_and_listed(store: S3Store) -> None:
    assert store.names() == store.experiment_names() == []
    for name in NAMES:
        store.ledger(name).commit(chunk(0, name))
    assert store.names() == sorted(NAMES)
    for name in NAMES:
        assert [found.writer for found in store.ledger(name).read()] == [name]
    assert store.experiment_names() == []
    store.objects.put("sweeps/only%20a%20checkpoint/trials/0/seg-0/try-0/checkpoints/1", b"x")
    store.ledger("read only").exists()
    assert store.names() == sorted(NAMES)


@pytest.mark.parametrize(("name", "length"), [("x" * 256, 256), ("", 0)])
def test_an_id_that_cannot_be_is_refused(store: S3Store, name: str, length: int) -> None:
    with pytest.raises(DefinitionError, match=f"the sweep's id: .* it needs 1 to 255 bytes, got {length}"):
        store.ledger(name)
    with pytest.raises(DefinitionError, match="the experiment's name: "):
        store.outcome_log(name)


def test_a_value_lies_under_the_hash_of_its_content(store: S3Store) -> None:
    name = store.put_value(b"code")
    assert store.put_value(b"code") == name
    copy = store.value_path(name)
    assert copy.read_bytes() == b"code"
    store.objects.put(f"values/{name}.pkl", b"other code")
    assert store.value_path(name).read_bytes() == b"code"
    copy.unlink()
    with pytest.raises(StoreError, match=f"values/{name}.pkl is damaged; restore it"):
        store.value_path(name)
    store.objects.delete([f"values/{name}.pkl"])
    with pytest.raises(StoreError, match=f"values/{name}.pkl is missing; restore it"):
        store.value_path(name)


# --- data ---


def put(store: S3Store, data: bytes) -> str:
    return store.data.put("bin", lambda file: file.write(data))


def test_a_blob_lies_under_the_hash_of_its_content(store: S3Store) -> None:
    name = put(store, b"abc")
    assert [found.key for found in store.objects.listed("data/")] == [f"data/{name[:2]}/{name}"]
    assert store.data.uri(name) == store.objects.uri(f"data/{name[:2]}/{name}")
    with store.data.open(name) as file:
        assert file.read() == b"abc"


def test_the_same_content_is_sent_once_unless_it_was_damaged(store: S3Store) -> None:
    name = put(store, b"abc")
    with Asked(store.objects) as asked:
        assert put(store, b"abc") == name
        assert asked.names == ["HeadObject"]
    store.objects.put(f"data/{name[:2]}/{name}", b"a")
    assert put(store, b"abc") == name
    with store.data.open(name) as file:
        assert file.read() == b"abc"


def test_a_large_blob_is_whole(store: S3Store) -> None:
    piece = os.urandom(1 << 20)

    def write(file: Hashed) -> None:
        for _ in range(18):
            file.write(piece)

    with store.data.open(store.data.put("bin", write)) as file:
        assert file.read() == piece * 18


def test_values_and_arrays_are_kept_in_it(store: S3Store) -> None:
    packer = Packer(store.data, pickle=False)
    array = np.arange(5000.0)
    sent = packer.kept({"array": array, "name": "x" * 5000}, 4096)
    got = packer.unkept(sent)
    assert (got["array"] == array).all()
    assert got["name"] == "x" * 5000
    assert store.objects.listed("data/")


def test_a_blob_that_is_missing_or_damaged_is_named(store: S3Store) -> None:
    name = put(store, b"abc")
    store.objects.put(f"data/{name[:2]}/{name}", b"abx")
    with pytest.raises(StoreError, match=rf"{name} is damaged: s3://.*{name} has another content by now"):
        store.data.open(name)
    store.objects.delete([f"data/{name[:2]}/{name}"])
    with pytest.raises(StoreError, match=rf"{name} is missing: there is no s3://.*{name}; restore it"):
        store.data.open(name)


@pytest.mark.parametrize("name", ["", "a.bin", "../../x", "a" * 64])
def test_a_name_that_is_none_leads_nowhere(store: S3Store, name: str) -> None:
    with pytest.raises(StoreError, match="names nothing in a data store"):
        store.data.open(name)


def test_a_writer_that_fails_leaves_nothing(store: S3Store) -> None:
    def write(file: Hashed) -> None:
        file.write(b"ab")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        store.data.put("bin", write)
    assert store.objects.listed() == []


# --- whether it can be used ---


def test_a_store_is_prepared_again_and_again(store: S3Store) -> None:
    for _ in range(2):
        store.prepare()
    assert store.objects.get("store.json") == b'{"schema":1}\n'


def test_a_server_that_ignores_conditions_is_refused(store: S3Store) -> None:
    def ignore(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop("If-None-Match", None)

    store.objects.client.meta.events.register("before-call.s3.PutObject", ignore)
    with pytest.raises(StoreError, match=r"the server of s3://.* ignores If-None-Match, so several writers"):
        store.prepare()


def test_a_bucket_that_may_not_be_written_to_is_told_at_once(
    weed: Weed, store: S3Store, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"allow these credentials s3:PutObject there"):
        S3Store(weed.objects(store.objects.prefix, "reader"), tmp_path).prepare()


# --- addresses ---


def test_an_address_leads_to_its_store(weed: Weed, tmp_path: Path) -> None:
    for url in (tmp_path, str(tmp_path), f"file://{tmp_path}", f"file://localhost{tmp_path}"):
        store = store_of(url)
        assert isinstance(store, FileStore)
        assert store.root == tmp_path
    spaced = store_of("file:///a%20b")
    assert isinstance(spaced, FileStore)
    assert spaced.root == Path("/a b")
    for url, uri in [
        ("s3://artifacts", "s3://artifacts"),
        ("s3://artifacts/", "s3://artifacts"),
        ("s3://artifacts/team/project/", "s3://artifacts/team/project"),
    ]:
        bucket = store_of(url, tmp_path)
        assert isinstance(bucket, S3Store)
        assert bucket.address == uri
        bucket.prepare()
        bucket.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "gs://bucket/x",
            "no kind of store for 'gs://bucket/x'; known are folders, file:///folder and s3://",
        ),
        ("file://folder", "write file:///folder, with three slashes, got 'file://folder'"),
        ("s3:///prefix", "write s3://bucket/prefix, got 's3:///prefix': '' cannot be a bucket's name"),
        ("s3://user@bucket/x", "'user@bucket' cannot be a bucket's name"),
        ("s3://bucket/x?endpoint=http://a", "name the server in AWS_ENDPOINT_URL_S3"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(url: str, told: str) -> None:
    with pytest.raises(DefinitionError) as error:
        store_of(url)
    assert told in str(error.value)


def test_a_missing_library_is_named_and_nobody_else_needs_it(tmp_path: Path) -> None:
    program = """
        import sys
        sys.modules["boto3"] = None
        from metta.sweep.stores.urls import store_of
        store_of(sys.argv[1]).names()
        try:
            store_of("s3://bucket/prefix")
        except Exception as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", "if True:" + program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == (
        'DefinitionError the store: s3://bucket/prefix needs boto3: pip install "metta-sweep[s3]"\n'
    )
