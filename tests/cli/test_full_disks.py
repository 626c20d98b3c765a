"""A disk that is full: what commands say of it, and that they show what is recorded all the same."""

import json

import pytest

from metta.sweep.contracts.failures import FREE_SOME
from tests.cli.filled import Told
from tests.stores.disks import run_on_disk

SERVER = (
    "this project's Temporal server cannot be started: no room is left for DISK/.metta-sweep/server;"
    f" {FREE_SOME}"
)

LOOKS = ("trials digits", "logs digits 0")
NEEDS_SERVER = ("dev", "pause digits", "attach digits", "replay digits")
COMMANDS = (
    *LOOKS,
    *NEEDS_SERVER,
    "ls",
    "show digits",
    "export digits",
    "gc",
    "doctor",
    "start other.py",
    "worker",
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What came of each command, by the command; the disk is called DISK."""
    disk = tmp_path_factory.mktemp("full") / "disk"
    script = f"import sys; from tests.cli.filled import play; play(sys.argv[1], {COMMANDS})"
    printed = run_on_disk(disk, "size=12m", script, patience_s=110.0).replace(str(disk), "DISK")
    return {command: Told(*came) for command, came in json.loads(printed).items()}


@pytest.mark.parametrize("command", LOOKS)
def test_what_is_recorded_is_shown_with_why_it_does_not_go_on(told: dict[str, Told], command: str) -> None:
    code, out, err = told[command]
    assert (code, err.splitlines()[0]) == (0, f"note: what is unfinished does not go on: {SERVER}")
    assert out or "nothing was printed" in err


def test_a_list_tells_that_nobody_can_tell_what_runs(told: dict[str, Told]) -> None:
    code, out, err = told["ls"]
    assert (code, out.splitlines()[1].split()[:2]) == (1, ["digits", "running"])
    why = "what is shown is what was recorded; nobody can tell what runs"
    assert err == f"error: {why}: {SERVER}\n"


def test_how_far_it_was_is_shown_with_why_nobody_can_tell_how_far_it_is(told: dict[str, Told]) -> None:
    code, out, err = told["show digits"]
    assert (code, out.splitlines()[0]) == (1, "digits is running")
    why = "what is shown is what was recorded; nobody can tell whether it runs"
    assert err.splitlines()[-1] == f"error: {why}: {SERVER}"


def test_records_alone_are_enough_for_an_export(told: dict[str, Told]) -> None:
    assert told["export digits"][::2] == (0, "")


@pytest.mark.parametrize("command", NEEDS_SERVER)
def test_what_needs_the_server_says_why_there_is_none(told: dict[str, Told], command: str) -> None:
    assert (told[command].code, told[command].err.splitlines()[-1]) == (1, f"error: {SERVER}")


@pytest.mark.parametrize("command", ["start other.py", "worker"])
def test_what_begins_something_says_where_no_room_is_left(told: dict[str, Told], command: str) -> None:
    why = f"error: no room is left for DISK/.metta-sweep/launches; {FREE_SOME}"
    assert (told[command].code, told[command].err.splitlines()[-1]) == (1, why)


def test_a_run_in_this_process_says_what_it_waits_for(told: dict[str, Told]) -> None:
    code, _, err = told["run other.py --debug"]
    assert code is None
    place = "DISK/.metta-sweep/sweeps/other/ledger.jsonl"
    assert err.splitlines()[-1] == f"waiting for the store: no room is left for {place}; {FREE_SOME}"


def test_what_would_make_room_is_shown_and_named_last(told: dict[str, Told]) -> None:
    assert told["gc"].code == 0
    assert "left: digits: it runs" in told["gc"].out
    assert (told["doctor"].code, told["doctor"].out.splitlines()[-1]) == (1, "next: sweep gc")


def test_where_there_is_room_again_it_goes_on(told: dict[str, Told]) -> None:
    assert (told["room again"].code, told["room again"].err) == (None, "")
