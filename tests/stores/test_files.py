"""The artifact store on files: where things lie, and that they lie there whole."""

from pathlib import Path

import pytest

from metta.sweep.contracts.errors import DefinitionError, StoreError
from metta.sweep.stores.files import LEDGER, FileStore, write_durably
from tests.stores.chunks import chunk
from tests.stores.disks import run_on_disk

NAMES = ["digits", "a/b", "..", ".", "...", "ü %2F", "A", "a", "x" * 255, "trials/../../x"]


def test_every_id_has_a_folder_of_its_own_and_is_listed_by_it(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    folders = {store.sweep_folder(name) for name in NAMES}
    assert len(folders) == len(NAMES)
    assert {folder.parent for folder in folders} == {tmp_path / "sweeps"}
    for name in NAMES:
        store.ledger(name).commit(chunk(0))
    assert store.names() == sorted(NAMES)


@pytest.mark.parametrize(("name", "length"), [("x" * 256, 256), ("ü" * 50, 300), ("", 0)])
def test_an_id_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str, length: int) -> None:
    with pytest.raises(DefinitionError, match=f"the sweep's id: .* it needs 1 to 255 bytes, got {length}"):
        FileStore(tmp_path).ledger(name)


def test_a_sweep_is_listed_when_something_is_recorded_of_it(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert store.names() == []
    store.sweep_folder("empty").mkdir(parents=True)
    (store.sweep_folder("empty") / LEDGER).write_bytes(b'{"n":0,"torn')
    assert store.names() == []


def test_the_root_does_not_move_with_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileStore(Path("store"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert store.root == tmp_path / "store"


def test_values_are_kept_once_under_the_hash_of_their_content(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    name = store.put_value(b"code")
    written = store.value_path(name).stat().st_ino
    assert store.put_value(b"code") == name
    assert store.put_value(b"other code") != name
    assert store.value_path(name).read_bytes() == b"code"
    assert store.value_path(name).stat().st_ino == written
    assert len(name) == 64


def test_a_prepared_store_is_kept_out_of_version_control(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "a" / "store")
    store.prepare()
    ignore = tmp_path / "a" / "store" / ".gitignore"
    assert ignore.read_text("utf-8") == "*\n"
    ignore.write_text("mine\n", "utf-8")
    store.prepare()
    assert ignore.read_text("utf-8") == "mine\n"


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    store = FileStore(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="file/store cannot be made: Not a directory"):
        store.prepare()
    with pytest.raises(StoreError, match=r"file/store/values/.*\.pkl cannot be written: Not a directory"):
        store.put_value(b"code")


def test_writing_again_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"long content", b"short"):
        write_durably(path, content)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o077 == 0  # it may hold keys of a server
    assert [*tmp_path.iterdir()] == [path]


def test_what_does_not_fit_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    told = run_on_disk(
        tmp_path / "disk",
        "size=64k",
        """
        import sys
        from pathlib import Path
        from metta.sweep.contracts.errors import StoreFull
        from metta.sweep.stores.files import FileStore, write_durably

        store = FileStore(Path(sys.argv[1]))
        try:
            store.put_value(b"x" * 100_000)
        except StoreFull as error:
            print(str(error).replace(sys.argv[1], "disk"))
        path = store.root / "file"
        write_durably(path, b"before")
        try:
            write_durably(path, b"x" * 100_000)
        except OSError as error:
            print(error.strerror)
        print(sorted(str(found.relative_to(store.root)) for found in store.root.rglob("*")))
        print(path.read_bytes())
        """,
    ).splitlines()
    assert told[0].startswith("no room is left for disk/values/")
    assert told[1:] == ["No space left on device", "['file', 'gc.lock', 'values']", "b'before'"]
