"""Names that nobody has, that belong to something of another kind, or to what cannot be read."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.client.launches import Launch
from metta.sweep.contracts.attempts import Code
from tests.cli.commands import PATIENCE_S
from tests.cli.conftest import Caller
from tests.cli.records import begun, damaged, recorded
from tests.rights import without_rights


@pytest.mark.parametrize(
    "command",
    [
        "attach digit",
        "retry digit",
        "show digit",
        "show digit --tree",
        "watch digits digit",
        "trials digit",
        "trials digit 1",
        "logs digit 1",
        "logs digit 1 --follow",
        "diff digits digit",
        "export digit",
        "export digit --reports",
        "budget digit 9",
        "concurrency digit 2",
        "pause digit",
        "pause digit --now",
        "resume digit",
        "stop digit",
        "gc digit",
    ],
)
def test_a_name_that_nobody_has_is_told_with_the_nearest_one(
    project: Path, call: Caller, command: str
) -> None:
    recorded(project)
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there is no sweep or experiment 'digit' here; did you mean digits?\n"
    assert not (project / ".metta-sweep/server").exists()  # none was started only to hear that


def test_a_stage_of_an_experiment_that_nobody_has_is_told_with_the_nearest_one(
    project: Path, call: Caller
) -> None:
    begun(project)
    done = call("replay", "tal", "--stage", "one")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: there is no experiment 'tal' here; did you mean talk?\n"


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("trials talk", "talk: it is an experiment; only sweeps have trials to count"),
        ("trials talk 1", "talk: it is an experiment; only sweeps have trials to count"),
        ("concurrency talk 2", "talk: it is an experiment; only sweeps have trials to count"),
        ("pause talk --now", "talk: it is an experiment; only sweeps have trials to count"),
        (
            "export talk --reports",
            "talk: it is an experiment, whose rows are its stages; trials of its sweeps",
        ),
        (
            "diff digits talk",
            "the comparison: digits is a sweep, and talk an experiment: give two of one kind",
        ),
        ("retry digits --from-stage one", "the sweep digits: a sweep has no stages, got 'one'"),
        ("replay digits --stage one", "the sweep digits: a sweep has no stages, got 'one'"),
        ("logs talk 1", "talk: no stage '1' has printed anything on this machine; stages that did: none"),
        ("logs digits one", "digits: give the number of a trial, got 'one'"),
    ],
)
def test_a_name_of_another_kind_is_told(project: Path, call: Caller, command: str, problem: str) -> None:
    recorded(project)
    begun(project)
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {problem}")


@pytest.mark.parametrize(
    "command",
    [
        "show hurt",
        "show hurt --tree",
        "trials hurt",
        "trials hurt 0",
        "logs hurt 0",
        "logs hurt 0 --follow",
        "retry hurt",
        "export hurt",
        "export hurt --reports",
        "export hurt -o hurt.csv",
        "diff hurt digits",
        "diff digits hurt",
        "gc hurt",
        "show torn",
        "show torn --tree",
        "logs torn one",
        "retry torn",
        "replay torn --stage one",
        "export torn",
        "diff torn talk",
    ],
)
def test_what_is_damaged_is_told_with_line_and_cure(project: Path, call: Caller, command: str) -> None:
    recorded(project)
    begun(project)
    file = damaged(project)["hurt" if "hurt" in command else "torn"]
    done = call(*command.split())
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {file}, line 1 (byte 0) is damaged: its checksum does not match. Nothing was changed."
        " Restore the file from a backup, or keep what stands before it:"
        f" `head -c 0 {file.name} > repaired.jsonl`\n"
    )
    assert not (project / "hurt.csv").exists()


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("ls", "sweeps/digits/ledger.jsonl"),
        ("show digits", "sweeps/digits/ledger.jsonl"),
        ("export digits", "sweeps/digits/ledger.jsonl"),
        ("show talk", "experiments/talk/outcomes.jsonl"),
    ],
)
def test_what_nobody_may_read_is_told(project: Path, command: str, path: str) -> None:
    recorded(project)
    begun(project)
    file = project / ".metta-sweep" / path
    file.chmod(0)
    (
        project / ".metta-sweep/sweeps/digits/snapshot.jsonl"
    ).unlink()  # which spares a look at what is before it
    done = sweep_without_rights(command)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {file} cannot be read: Permission denied; allow it, or put the store elsewhere\n"
    )


def sweep_without_rights(command: str) -> "subprocess.CompletedProcess[str]":
    given = without_rights([str(Path(sys.executable).with_name("sweep")), *command.split()])
    return subprocess.run(given, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture
def readable(project: Path) -> Iterator[Path]:
    """A store in which one may look, and change nothing, with work that has not ended."""
    recorded(project)
    begun(project)
    store = project / ".metta-sweep"
    launch = store / "launches/talk.json"
    launch.parent.mkdir()
    launch.write_text(Launch(queue="talk", code=Code(objective="", cwd=str(project))).model_dump_json())
    places = [store, *store.rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    yield store
    for place in places:
        place.chmod(place.stat().st_mode | 0o200)


@pytest.mark.parametrize(
    "command",
    ["show digits", "show digits --tree", "trials digits", "export digits", "watch digits"],
)
@pytest.mark.usefixtures("readable")
def test_who_may_only_read_looks_at_all(command: str) -> None:
    done = sweep_without_rights(command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("readable")
def test_who_may_only_read_lists_all_with_what_is_in_doubt() -> None:
    done = sweep_without_rights("ls")
    assert done.returncode == 1  # as always when somebody may run whom nobody can ask
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:2]] == [["digits", "finished"]]
    assert "talk" in done.stdout
    assert "server cannot be started" in done.stderr


@pytest.mark.parametrize(
    "command", ["attach digits", "pause digits", "stop talk", "retry digits --budget 9", "dev"]
)
@pytest.mark.usefixtures("readable")
def test_who_may_only_read_is_told_what_he_may_not_change(command: str) -> None:
    done = sweep_without_rights(command)
    assert (done.returncode, done.stdout) == (1, "")
    assert " cannot be written: Permission denied; allow it, or put the store elsewhere\n" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
