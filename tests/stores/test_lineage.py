"""Which checkpoints no trial needs, told from a ledger as a whole; tests of sessions have the rest."""

import os
from pathlib import Path

import pytest

from metta.sweep.contracts.attempts import AttemptKey
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.stores.lineage import needless
from metta.sweep.stores.workplaces import FileWorkplace, deleted

FIRST = AttemptKey(0, 0, 1)


def record(number: int = 0, **fields: object) -> TrialRecord:
    return TrialRecord(number, {}, seed=0, **fields)  # type: ignore[arg-type]  # fields of several types


def saved(folder: Path, name: str) -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("weights")
    return name


def found(folder: Path, recorded: list[str], *records: TrialRecord) -> list[str]:
    return sorted(needless(FileWorkplace(folder), records, recorded))


def test_all_that_was_ever_reported_goes_but_the_last_one(tmp_path: Path) -> None:
    reported = [saved(tmp_path, f"{FIRST}/checkpoints/{n}") for n in range(20)]
    saved(tmp_path, f"{FIRST}/checkpoints/notes")  # nobody reported it
    assert found(tmp_path, reported, record(checkpoint=reported[-1])) == sorted(reported[:-1])


def test_what_is_not_there_any_more_is_not_found(tmp_path: Path) -> None:
    last = saved(tmp_path, f"{FIRST}/checkpoints/2")
    assert found(tmp_path, [f"{FIRST}/checkpoints/1", last], record(checkpoint=last)) == []


@pytest.mark.parametrize(
    "theirs",
    [
        "weights",
        "trials/weights/my/own/file",
        "trials/00/seg-0/try-1/file",
        f"{FIRST}/checkpoints/../../../../../mine",
        "/mine",
    ],
)
def test_what_is_not_named_by_an_attempt_is_the_users_own(tmp_path: Path, theirs: str) -> None:
    saved(tmp_path, f"{FIRST}/checkpoints/1")
    path = tmp_path / "s" / theirs.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(os.path.normpath(path)).touch()
    last = saved(tmp_path / "s", f"{FIRST}/checkpoints/2")
    assert found(tmp_path / "s", [theirs, last], record(checkpoint=last)) == []


def test_one_that_lies_where_a_needed_one_leads_stays(tmp_path: Path) -> None:
    """A trial goes on from a path outside, which a link leads back from."""
    before, last = (saved(tmp_path / "s", f"{FIRST}/checkpoints/{n}") for n in (1, 2))
    (tmp_path / "link").symlink_to(tmp_path / "s" / before)
    trial, heir = record(checkpoint=last), record(1, checkpoint=str(tmp_path / "link"))
    assert found(tmp_path / "s", [before, last], trial, heir) == []
    assert found(tmp_path / "s", [before, last], trial) == [before]


def test_of_a_link_only_the_link_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    deleted(tmp_path / "link")
    assert os.listdir(tmp_path) == ["elsewhere"]
    deleted(tmp_path / "link")  # it is gone
