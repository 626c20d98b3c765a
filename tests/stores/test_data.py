import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import pytest

from metta.sweep.contracts.blobs import Hashed
from metta.sweep.contracts.errors import StoreError
from metta.sweep.stores.additions import LOCK
from metta.sweep.stores.data import DataStore
from tests.stores.disks import ROOT, run_on_disk


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(tmp_path / "store")


def put(store: DataStore, data: bytes, suffix: str = "bin") -> str:
    return store.put(suffix, lambda file: file.write(data))


def files(store: DataStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file() and path.name != LOCK]


def test_a_blob_lies_under_the_hash_of_its_content(store: DataStore) -> None:
    name = put(store, b"abc")
    assert name == f"{sha256(b'abc').hexdigest()}.bin"
    assert files(store) == [store.root / "data" / name[:2] / name] == [store.path(name)]
    with store.open(name) as file:
        assert file.read() == b"abc"


def test_what_is_written_in_pieces_is_one_blob(store: DataStore) -> None:
    def write(file: Hashed) -> None:
        for piece in (b"a", bytearray(b"b"), memoryview(b"c")):
            assert file.write(piece) == 1
        assert file.tell() == 3

    assert store.put("bin", write) == put(store, b"abc")


def test_the_same_content_is_written_once_and_becomes_new(store: DataStore) -> None:
    path = store.path(put(store, b"abc"))
    os.utime(path, (1, 1))
    before = path.stat()
    put(store, b"abc")
    after = path.stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime > time.time() - 60  # whoever has put it there counts on it
    assert files(store) == [path]


def test_content_that_has_lost_its_end_is_written_again(store: DataStore) -> None:
    name = put(store, b"abc")
    os.truncate(store.path(name), 1)
    assert put(store, b"abc") == name
    assert store.path(name).read_bytes() == b"abc"


def test_a_blob_that_is_missing_is_named(store: DataStore) -> None:
    name = put(store, b"abc")
    store.path(name).unlink()
    with pytest.raises(StoreError, match=rf"{name} is missing: there is no {store.path(name)}; restore it"):
        store.open(name)


@pytest.mark.parametrize("content", [b"", b"ab", b"abx", b"abcd"])
def test_a_blob_that_is_damaged_is_named(store: DataStore, content: bytes) -> None:
    name = put(store, b"abc")
    store.path(name).write_bytes(content)
    with pytest.raises(StoreError, match=rf"{name} is damaged: .* has another content by now"):
        store.open(name)


@pytest.mark.parametrize(
    "name", ["", "a.bin", "../../etc/passwd", f"{'a' * 64}", f"{'a' * 64}.b/../..", "x" * 500]
)
def test_a_name_that_is_none_leads_nowhere(store: DataStore, name: str) -> None:
    with pytest.raises(StoreError, match="names nothing in a data store"):
        store.open(name)


def test_a_writer_that_fails_leaves_nothing(store: DataStore) -> None:
    def write(file: Hashed) -> None:
        file.write(b"ab")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        store.put("bin", write)
    assert files(store) == []


def test_a_writer_that_is_killed_leaves_no_blob(store: DataStore) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from metta.sweep.stores.data import DataStore

        def write(file):
            file.write(b"x" * 100_000)
            print("half", flush=True)
            time.sleep(60)

        DataStore(Path(sys.argv[1])).put("bin", write)
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", dedent(program), str(store.root)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    assert [path for path in files(store) if not path.name.startswith(".")] == []
    name = put(store, b"x" * 100_000)
    assert store.path(name).stat().st_size == 100_000


def test_many_writers_of_the_same_content_agree(store: DataStore) -> None:
    def write(file: Hashed) -> None:
        file.write(b"ab")
        time.sleep(0.01)
        file.write(b"c")

    with ThreadPoolExecutor(8) as pool:
        names = {done.result() for done in [pool.submit(store.put, "bin", write) for _ in range(16)]}
    assert files(store) == [store.path(name) for name in names]


def test_a_full_disk_keeps_what_is_there_and_tells_also_through_libraries(tmp_path: Path) -> None:
    told = run_on_disk(
        tmp_path / "disk",
        "size=256k",
        """
        import sys
        from pathlib import Path
        from metta.sweep.contracts.errors import StoreFull
        from metta.sweep.stores.data import DataStore

        def hiding(file):
            try:
                file.write(b"b" * 400_000)
            except OSError:
                raise RuntimeError("a library's own") from None

        disk = Path(sys.argv[1])
        store = DataStore(disk)
        name = store.put("bin", lambda file: file.write(b"a" * 50_000))
        for write in (lambda file: file.write(b"b" * 400_000), hiding):
            try:
                store.put("bin", write)
            except StoreFull as error:
                print(error)
        assert [path for path in disk.rglob("data/*/*") if path.is_file()] == [store.path(name)]
        assert [path for path in disk.glob("data/*") if path.is_file()] == []
        assert store.open(name).read() == b"a" * 50_000
        store.put("bin", lambda file: file.write(b"c" * 50_000))
        """,
    )
    assert re.fullmatch(
        r"(no room is left for .*/data; free some .*, and what has begun goes on by itself\n){2}", told
    )


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/data cannot be written: "):
        put(DataStore(tmp_path / "file"), b"abc")


def test_a_large_array_is_written_and_read_without_a_second_copy(store: DataStore) -> None:
    program = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from metta.sweep.pipeline.packing import Packer
        from metta.sweep.stores.data import DataStore

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        packer = Packer(DataStore(Path(sys.argv[1])), pickle=False)
        array = np.arange(12_000_000.0)
        before, total = peak(), array.sum()
        sent = packer.kept({"array": array}, 4096)
        assert peak() < before + array.nbytes / 2, (before, peak())
        del array
        assert packer.unkept(sent)["array"].sum() == total
        assert peak() < before + 96e6 / 2, (before, peak())
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program), str(store.root)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
