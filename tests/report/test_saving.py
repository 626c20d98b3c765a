import os
import re
from pathlib import Path

import pytest

from metta.sweep import DefinitionError, SweepError
from metta.sweep.report.saving import saving


def save(path: Path, data: bytes = b"new", replace: bool = False) -> None:
    with saving(path, replace) as sink:
        sink.write(data)


def test_a_file_has_its_name_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    with saving(path, replace=False) as sink:
        sink.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["trials.csv"]


def test_others_may_read_it_as_they_may_read_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    save(tmp_path / "trials.csv")
    assert (tmp_path / "trials.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_is_replaced_only_by_force(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "trials.csv"
    path.write_bytes(b"old")
    if replace:
        save(path, replace=True)
    else:
        message = f"the export: {path} is there already: add --force to replace it, or choose another name"
        with pytest.raises(DefinitionError, match=re.escape(message)):
            save(path)
    assert path.read_bytes() == (b"new" if replace else b"old")
    assert os.listdir(tmp_path) == ["trials.csv"]


def test_what_came_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"

    def overtaken() -> None:
        with saving(path, replace=False) as sink:
            sink.write(b"new")
            path.write_bytes(b"of somebody else")

    with pytest.raises(DefinitionError, match="is there already"):
        overtaken()
    assert path.read_bytes() == b"of somebody else"
    assert os.listdir(tmp_path) == ["trials.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "trials.csv"
    path.write_bytes(b"old")

    def failing() -> None:
        with saving(path, replace=True) as sink:
            sink.write(b"half")
            raise error

    with pytest.raises(error):
        failing()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["trials.csv"]


def test_a_link_goes_on_leading_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_bytes(b"old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    save(tmp_path / "link.csv", replace=True)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "is a folder: add the name of a file"),
        ("none/trials.csv", "there is no folder"),
        ("pipe", "is no file: leave -o out"),
    ],
)
def test_where_nothing_can_be_written_is_told_before(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DefinitionError, match=message):
        save(tmp_path / name, replace=True)
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    message = r"trials\.csv cannot be written: No space left on device"
    with pytest.raises(SweepError, match=message), saving(tmp_path / "trials.csv", replace=False):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []
