import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metta.sweep.contracts.attempts import Attempt, AttemptKey
from metta.sweep.contracts.decisions import Resume
from metta.sweep.contracts.events import TrialEvent
from metta.sweep.contracts.records import TrialRecord
from metta.sweep.search.checkpoints import Checkpoints
from metta.sweep.stores.workplaces import FileWorkplace
from tests.search.components import Halving, component
from tests.search.played import Plays
from tests.search.scripted import complete, fail, pause, report

FIRST = AttemptKey(0, 0, 1)


@contextmanager
def kept_in(folder: Path, *records: TrialRecord) -> Iterator[Checkpoints]:
    """The checkpoints of a sweep; after it everything that is needless is deleted."""
    checkpoints = Checkpoints(FileWorkplace(folder))
    checkpoints.begin(records)
    yield checkpoints
    checkpoints.close()


def record(number: int = 0, **fields: object) -> TrialRecord:
    return TrialRecord(number, {}, seed=0, **fields)  # type: ignore[arg-type]  # fields of several types


def saved(folder: Path, name: str, key: AttemptKey = FIRST) -> str:
    """A checkpoint that an attempt has written, as it is recorded."""
    file = folder / str(key) / "checkpoints" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("weights")
    return file.relative_to(folder).as_posix()


def left(folder: Path) -> list[str]:
    """All checkpoints that are on the disk."""
    files = (file for file in folder.rglob("*") if file.is_file() or file.is_symlink())
    return sorted(file.relative_to(folder).as_posix() for file in files)


def test_the_one_before_goes_when_its_successor_is_recorded(tmp_path: Path) -> None:
    trial = record(checkpoint=saved(tmp_path, "1"))
    with kept_in(tmp_path, trial) as checkpoints:
        trial.checkpoint = saved(tmp_path, "2")
        written = saved(tmp_path, "3")  # it is not recorded yet
        checkpoints.refer(trial)
    assert left(tmp_path) == [trial.checkpoint, written]


def test_a_folder_goes_with_all_that_is_in_it_and_of_a_link_only_the_link(tmp_path: Path) -> None:
    saved(tmp_path, "1/weights")
    folder = tmp_path / str(FIRST) / "checkpoints"
    os.mkfifo(folder / "1" / "pipe")
    (folder / "1" / "latest").symlink_to("missing")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    trial = record(checkpoint=f"{FIRST}/checkpoints/1")
    with kept_in(tmp_path, trial) as checkpoints:
        (folder / "2").symlink_to(elsewhere)
        trial.checkpoint = f"{FIRST}/checkpoints/2"
        checkpoints.refer(trial)
        trial.checkpoint = saved(tmp_path, "3")
        checkpoints.refer(trial)
    assert os.listdir(folder) == ["3"]
    assert elsewhere.is_dir()


@pytest.mark.parametrize("names", [("last", "last"), (".", "a/b"), ("a/b", "a"), ("a", ".")])
def test_one_that_shares_files_with_its_successor_stays(tmp_path: Path, names: tuple[str, str]) -> None:
    file = saved(tmp_path, "a/b")
    trial = record(checkpoint=os.path.normpath(f"{FIRST}/checkpoints/{names[0]}"))
    with kept_in(tmp_path, trial) as checkpoints:
        trial.checkpoint = os.path.normpath(f"{FIRST}/checkpoints/{names[1]}")
        checkpoints.refer(trial)
    assert left(tmp_path) == [file]


def test_one_that_lies_elsewhere_is_the_users_own(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "weights", tmp_path / "sweep" / "trials" / "weights"
    theirs.parent.mkdir(parents=True)
    mine.touch()
    theirs.touch()
    trial = record(checkpoint=str(mine))
    with kept_in(tmp_path / "sweep", trial) as checkpoints:
        for following in ("trials/weights", None):
            trial.checkpoint = following
            checkpoints.refer(trial)
    assert mine.exists()
    assert theirs.exists()


def test_one_that_others_begin_with_stays_until_the_last_of_them_has_its_own(tmp_path: Path) -> None:
    donated = saved(tmp_path, "1")
    donor, *heirs = (record(number, checkpoint=donated) for number in range(3))
    with kept_in(tmp_path, donor, *heirs) as checkpoints:
        donor.checkpoint = saved(tmp_path, "2")
        checkpoints.refer(donor)
        heirs[0].checkpoint = saved(tmp_path, "1", AttemptKey(1, 0, 1))
        checkpoints.refer(heirs[0])
    assert left(tmp_path) == [donated, donor.checkpoint, heirs[0].checkpoint]
    with kept_in(tmp_path, donor, *heirs) as checkpoints:
        heirs[1].status = "failed"
        checkpoints.refer(heirs[1])
    assert left(tmp_path) == [donor.checkpoint, heirs[0].checkpoint]


def test_a_failed_donor_leaves_what_its_heir_begins_with(tmp_path: Path) -> None:
    donated = saved(tmp_path, "1")
    donor, heir = record(0, checkpoint=donated), record(1, checkpoint=donated)
    with kept_in(tmp_path, donor, heir) as checkpoints:
        donor.status = "failed"
        checkpoints.refer(donor)
        checkpoints.failed(donor.key)
    assert left(tmp_path) == [donated]


def test_an_attempt_that_failed_leaves_nothing(tmp_path: Path) -> None:
    with kept_in(tmp_path) as checkpoints:
        saved(tmp_path, "torn")
        checkpoints.failed(FIRST)
    assert left(tmp_path) == []


def test_what_a_trial_kept_for_itself_stays_when_it_has_ended_well(tmp_path: Path) -> None:
    file = saved(tmp_path, "model")
    with kept_in(tmp_path, record(status="completed")):
        pass
    assert left(tmp_path) == [file]


def test_nested_ones_of_several_trials_are_deleted_with_the_last(tmp_path: Path) -> None:
    inner = saved(tmp_path, "d/x")
    donor, heir = record(0, checkpoint=inner), record(1, checkpoint=inner)
    with kept_in(tmp_path, donor, heir) as checkpoints:
        donor.checkpoint = f"{FIRST}/checkpoints/d"
        checkpoints.refer(donor)
        donor.checkpoint = saved(tmp_path, "e")
        checkpoints.refer(donor)
    assert left(tmp_path) == [inner, donor.checkpoint]


@pytest.mark.parametrize("checkpoint", [".", "trials", "trials/0", str(FIRST)])
def test_a_folder_that_holds_attempts_is_never_deleted(tmp_path: Path, checkpoint: str) -> None:
    file = saved(tmp_path, "1")
    trial = record(checkpoint=checkpoint)
    with kept_in(tmp_path, trial) as checkpoints:
        trial.checkpoint = file
        checkpoints.refer(trial)
    assert left(tmp_path) == [file]


def test_the_next_attempt_inherits_the_last_one_and_then_leaves_nothing_of_it(tmp_path: Path) -> None:
    trial = record(checkpoint=saved(tmp_path, "1"))
    with kept_in(tmp_path, trial) as checkpoints:
        torn = saved(tmp_path, "torn")
        checkpoints.failed(trial.key)
        trial.attempt = 2
        checkpoints.refer(trial)
        assert left(tmp_path) == [trial.checkpoint, torn]
        trial.checkpoint = saved(tmp_path, "2", trial.key)
        checkpoints.refer(trial)
    assert left(tmp_path) == [trial.checkpoint]


def test_what_a_killed_session_has_left_goes_when_the_next_one_begins(tmp_path: Path) -> None:
    trial = record(checkpoint=saved(tmp_path, "1"), status="paused")
    failed = record(1, checkpoint=saved(tmp_path, "1", AttemptKey(1, 0, 1)), status="failed")
    again = record(2, attempt=2)
    saved(tmp_path, "torn", AttemptKey(2, 0, 1))
    strange = saved(tmp_path, "x", AttemptKey(7, 0, 1))
    with kept_in(tmp_path, trial, failed, again):
        pass
    assert left(tmp_path) == [trial.checkpoint, strange]


@pytest.mark.parametrize("named", ["by its real path", "by the folder of its attempt"])
def test_what_a_trial_goes_on_from_stays_however_it_is_named(tmp_path: Path, named: str) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "trials").symlink_to(tmp_path / "scratch")
    file = tmp_path / saved(tmp_path, "1")
    checkpoint = str(file.resolve()) if named == "by its real path" else str(FIRST)
    with kept_in(tmp_path, record(checkpoint=checkpoint, attempt=2)):
        pass
    assert file.exists()


def test_what_a_killed_session_has_not_deleted_in_time_goes_when_the_next_one_begins(tmp_path: Path) -> None:
    before, last = saved(tmp_path, "1"), saved(tmp_path, "2")
    own = saved(tmp_path, "notes")  # nobody reported it
    with kept_in(tmp_path, record(status="paused", checkpoint=last, superseded=(before,))):
        pass
    assert left(tmp_path) == [last, own]


def test_what_cannot_be_deleted_is_left_lying(tmp_path: Path) -> None:
    trial = record(checkpoint=f"{FIRST}/checkpoints/gone")
    with kept_in(tmp_path, trial) as checkpoints:
        trial.checkpoint = saved(tmp_path, "1")
        checkpoints.refer(trial)
    assert left(tmp_path) == [trial.checkpoint]


# --- in a session ---


def trains(attempt: Attempt) -> Iterator[TrialEvent]:
    """Steps with checkpoints that are really there; the third trial fails after them."""
    folder = Path(attempt.folder) / "checkpoints"
    folder.mkdir(parents=True)
    last = attempt.until_step or 2
    for step in range((attempt.step or 0) + 1, last + 1):
        (folder / f"{step}").touch()
        yield report(attempt, step, acc=attempt.trial / 8, checkpoint=str(folder / f"{step}"))
    if attempt.trial == 2:
        yield fail(attempt)
    elif attempt.until_step is None:
        yield complete(attempt)
    else:
        yield pause(attempt, last, str(folder / f"{last}"))


def test_each_trial_that_has_not_failed_keeps_its_last_one_and_no_other_is_left(
    plays: Plays, tmp_path: Path
) -> None:
    plays(trains, slots=2).run(trials=4)
    assert left(tmp_path) == [
        "ledger.jsonl",
        "snapshot.jsonl",
        *(f"trials/{n}/seg-0/try-1/checkpoints/2" for n in (0, 1, 3)),
    ]


def test_a_promoted_trial_leaves_nothing_of_its_segments_before(plays: Plays, tmp_path: Path) -> None:
    played = plays(trains, slots=2, scheduler=component(Halving))
    played.run(trials=4)
    needed = [f"{record.checkpoint}" for record in played.table.records if record.status != "failed"]
    assert any("seg-1" in checkpoint for checkpoint in needed)
    assert left(tmp_path) == ["ledger.jsonl", "snapshot.jsonl", *needed]


def test_a_trial_that_is_promoted_without_one_is_told(plays: Plays) -> None:
    def forgetful(attempt: Attempt) -> Iterator[TrialEvent]:
        assert attempt.until_step
        yield report(attempt, attempt.until_step, acc=attempt.trial / 8)
        yield pause(attempt, attempt.until_step)

    played = plays(forgetful, scheduler=component(Halving))
    warnings = played.run(trials=4).progress.warnings
    resumed = [d.trial for chunk in played.chunks for d in chunk.decisions if isinstance(d, Resume)]
    assert len(warnings) == 1
    assert f"no checkpoint and begin again at their first step (so far {len(resumed)} times)" in warnings[0]


def test_a_checkpoint_that_is_told_by_its_real_path_is_found_behind_a_link(
    plays: Plays, tmp_path: Path
) -> None:
    def real(attempt: Attempt) -> Iterator[TrialEvent]:
        file = Path(attempt.folder) / "checkpoints" / "1"
        file.parent.mkdir(parents=True)
        file.touch()
        yield report(attempt, 1, checkpoint=str(file.resolve()))
        yield complete(attempt)

    (tmp_path / "scratch").mkdir()
    (tmp_path / "trials").symlink_to(tmp_path / "scratch")
    played = plays(real)
    played.run(trials=1)
    assert (tmp_path / str(played.table.records[0].checkpoint)).exists()
