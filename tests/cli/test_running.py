"""The command with a real server and real workers: one walk through a sweep's life after the other."""

import re
import signal
from pathlib import Path

import pytest

from tests.cli.commands import ended, interrupt, running, script, sweep, wait_until_recorded
from tests.cli.conftest import Caller, shapes

NEXT = re.compile(r"next: (sweep .*?)   UI: http://127\.0\.0\.1:\d+/namespaces/metta-sweep/workflows/(\S+)")


def next_command(out: str) -> str:
    """The command that the last line names, beside the address of the UI."""
    found = NEXT.fullmatch(out.splitlines()[-1])
    assert found, out
    return found[1]


def test_a_sweep_from_beginning_to_end(project: Path, call: Caller) -> None:
    script(project, name="digits")
    done = sweep("run", "mine.py")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("sweep digits  http://127.0.0.1:")
    assert "\x1b" not in done.stdout + done.stderr
    assert next_command(done.stdout) == "sweep run mine.py --name digits --resume --budget N"
    assert done.stdout.startswith("defining\ndigits is finished: its budget is used up\n3 of 3 trials in ")
    title = next(line for line in done.stdout.splitlines() if line.startswith("trial "))
    assert title.split() == ["trial", "accuracy", "step", "x", "model", "cnn.depth"]

    shown = done.stdout.removeprefix("defining\n")
    assert call.printed("show", "digits") == call.printed("attach", "digits") == shown
    status = call.json("show", "digits")
    assert status == call.json("attach", "digits")
    assert (status["state"], status["reason"], status["progress"]["counts"]["completed"]) == (
        "finished",
        "budget",
        3,
    )
    again = call.json("run", "mine.py", "--resume", "--budget", "4")
    assert again["progress"]["counts"]["started"] == 4
    assert [line.split()[:3] for line in call.printed("ls").splitlines()[:2]] == [
        ["sweep", "state", "trials"],
        ["digits", "finished", "4/4"],
    ]
    assert [row["sweep"] for row in call.json("ls")] == ["digits"]
    for command in (("budget", "digits", "9"), ("stop", "digits")):
        over = call(*command)
        assert (over.returncode, over.stdout) == (1, "")
        assert over.stderr.startswith("error: digits is over; run it again with resume=True (`--resume`)")
    taken = call("run", "mine.py")
    assert taken.returncode == 2
    assert "the name 'digits' is in use" in taken.stderr

    wait_until_recorded(project / ".metta-sweep/launches/digits.json", '"closed": true')
    assert call.printed("dev", "--stop").endswith("and the server\n")
    shown = call.printed("show", "digits")  # which takes no server
    assert shown.splitlines()[-1] == "next: sweep run mine.py --name digits --resume --budget N"
    assert call.printed("dev", "--stop") == "stopped no worker and no server\n"


def test_a_running_sweep_is_watched_changed_and_stopped(project: Path, call: Caller) -> None:
    script(project, "slow", name="slow")
    with running("run", "mine.py", "--json") as run:
        wait_until_recorded(project / ".metta-sweep/sweeps/slow/ledger.jsonl", '"reported"')
        shown = call.printed("show", "slow")
        assert shown.startswith("slow is running\n1 of 3 trials in ")
        assert next_command(shown) == "sweep attach slow"
        assert call.printed("budget", "slow", "20", "--hours", "1").splitlines() == [
            "slow goes on with the budget trials=20, hours=1.0",
            "next: sweep show slow",
        ]
        changed = call.json("budget", "slow", "--target", "2")["budget"]
        assert {k: v for k, v in changed.items() if v} == {"trials": 20, "hours": 1.0, "target": 2.0}
        lifted = call.json("budget", "slow", "--lift", "hours", "--lift", "target")["budget"]
        assert {k: v for k, v in lifted.items() if v} == {"trials": 20}
        assert call.json("stop", "slow")["stop"]
        done = ended(run)
    assert done.returncode == 0, done.stderr
    [status] = shapes("run", done.stdout)
    assert (status["state"], status["reason"]) == ("finished", "stopped")
    assert status["control"]["budget"]["trials"] == 20
    assert "defining" in done.stderr


def test_a_running_sweep_is_paused_and_goes_on(project: Path, call: Caller) -> None:
    script(project, "slow", name="slow")
    with running("run", "mine.py", "--json") as run:
        wait_until_recorded(project / ".metta-sweep/sweeps/slow/ledger.jsonl", '"reported"')
        assert call.printed("pause", "slow", "--now").splitlines() == [
            "slow is paused",
            "next: sweep resume slow",
        ]
        wait_until_recorded(project / ".metta-sweep/sweeps/slow/ledger.jsonl", '"interrupt"')
        shown = call.printed("show", "slow")
        assert shown.startswith("slow is paused\n")
        wait_until_recorded(project / ".metta-sweep/sweeps/slow/ledger.jsonl", '"retry"')
        assert [trial["status"] for trial in call.json("trials", "slow", "--status", "paused")] == ["paused"]
        assert call.printed("trials", "slow", "0").splitlines()[0] == "trial 0 is paused"
        [listed] = call.json("ls")
        assert (listed["progress"]["counts"]["running"], listed["progress"]["counts"]["paused"]) == (0, 1)
        assert next_command(shown) == "sweep resume slow"
        assert call.json("concurrency", "slow", "1")["concurrency"] == 1
        assert call.printed("resume", "slow").splitlines()[0] == (
            "slow goes on with the budget trials=3; 1 trial at a time"
        )
        assert (
            call.printed("concurrency", "slow", "4")
            .splitlines()[0]
            .endswith("; at most 4 trials at the same time, if scheduler and executor allow as many")
        )
        assert call.json("stop", "slow")["stop"]
        done = ended(run)
    assert done.returncode == 0, done.stderr


def test_a_sweep_that_fails_says_why_and_how_to_go_on(project: Path, call: Caller) -> None:
    script(project, "broken", name="broken")
    done = sweep("run", "mine.py", "--budget", "9")
    assert done.returncode == 1
    assert (
        "error: all of the 5 finished trials failed, most often with: ValueError: no luck today"
        in done.stderr
    )
    assert '    raise ValueError("no luck today")' in done.stderr
    assert next_command(done.stdout) == "sweep retry broken"
    [failed], _ = call.failed(1, "attach", "broken")
    assert failed["state"] == "failed"
    assert "no luck today" in failed["notice"]
    shown = call.printed("show", "broken")
    assert shown.startswith("broken has failed\n")
    assert "all of the 5 finished trials failed, most often with: ValueError: no luck today\n" in shown


@pytest.mark.parametrize("program", ["sweep", "python"])
def test_ctrl_c_detaches_and_the_sweep_goes_on(project: Path, call: Caller, program: str) -> None:
    script(project, "slow", name="slow")
    arguments = ["run"] if program == "sweep" else []
    ledger = project / ".metta-sweep/sweeps/slow/ledger.jsonl"
    with running(*arguments, "mine.py", program=program) as run:
        wait_until_recorded(ledger, '"reported"')
        interrupt(run)
        done = ended(run)
    # as shells expect: a command says 130, a program that was not asked dies of the signal
    assert done.returncode == (130 if program == "sweep" else -signal.SIGINT)
    assert "detached: slow goes on without this program" in done.stderr
    assert "sweep attach slow" in done.stderr
    assert "sweep stop slow" in done.stderr
    assert "Traceback" not in done.stderr
    assert '"finish"' not in ledger.read_text("utf-8")
    call.printed("budget", "slow", "1")
    assert call.printed("attach", "slow").startswith("slow is finished: its budget is used up\n")


def test_a_second_ctrl_c_stops_the_sweep(project: Path, call: Caller) -> None:
    script(project, "slow", name="slow")
    with running("run", "mine.py") as run:
        wait_until_recorded(project / ".metta-sweep/sweeps/slow/ledger.jsonl", '"reported"')
        interrupt(run)
        assert run.stderr
        while "detached" not in run.stderr.readline():
            pass
        interrupt(run)
        done = ended(run)
    assert done.returncode == 0, done.stderr
    assert "stopping slow: its running trials end at their next report" in done.stderr
    assert "slow is finished: it was stopped\n" in done.stdout


def test_a_server_for_development_ends_with_ctrl_c(project: Path, call: Caller) -> None:
    with running("dev", "--json") as dev:
        assert dev.stdout
        [where] = shapes("dev", dev.stdout.readline())
        interrupt(dev)
        done = ended(dev)
    assert where["ui"].startswith("http://127.0.0.1:")
    assert (where["namespace"], where["queue"]) == ("metta-sweep", "metta-sweep")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert call.json("dev", "--stop") == {"workers": [], "server": True}
    assert call.printed("dev", "--stop") == "stopped no worker and no server\n"
