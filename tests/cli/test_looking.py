"""What people look at: lists, trials, logs and the live table."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.stores.files import FileStore
from tests.cli.commands import ended, interrupt, running, script, wait_until_recorded
from tests.cli.conftest import Caller, shapes
from tests.cli.records import begun, recorded
from tests.search.by_hand import ByHand

SCRIPT = """\
from pathlib import Path
from time import sleep
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Experiment

def train(trial):
    print("begin", trial.number, flush=True)
    trial.report(step=1, accuracy=trial.params["x"])
    if trial.number == 1:
        raise ValueError("no luck\\nat all")
    if trial.number == 2 and not Path("again").exists():
        Path("again").touch()
        raise RuntimeError("once")
    trial.report(step=2, accuracy=trial.params["x"])

class Talking(Experiment):
    def pipeline(self):
        from metta.sweep.experiments.base import Pipeline
        return Pipeline().stage("speak", self.speak)

    def speak(self) -> int:
        while not Path("go").exists():
            sleep(0.05)
        print("three words here")
        return 3

if __name__ == "__main__":
    one = LocalExecutor(max_parallel=1)
    SweepExperiment(train, {"x": Uniform(0, 1)}, name="digits", seed=1, retry=2, executor=one).run(budget=4)
"""


WAITING = """\
from pathlib import Path
from time import sleep
from metta.sweep import Uniform
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment

def train(params):
    while not Path("begin").exists():
        sleep(0.05)
    return {"loss": params["x"]}

if __name__ == "__main__":
    one = LocalExecutor(max_parallel=1)
    SweepExperiment(train, {"x": Uniform(0, 1)}, name="digits", seed=1, executor=one).run(budget=3)
"""


def test_trials_and_what_they_print(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    assert call("run", "mine.py").returncode == 0

    counts, title, *rows, following = call.printed("trials", "digits").splitlines()
    assert counts.startswith("4 of 4 trials in ")
    assert title.split() == ["trial", "status", "accuracy", "step", "attempt", "time", "x", "failure"]
    assert [row.split()[:2] for row in rows] == [
        ["0", "completed"],
        ["1", "failed"],
        ["2", "completed"],
        ["3", "completed"],
    ]
    assert rows[1].endswith("user: ValueError: no luck")
    assert following.startswith("next: sweep trials digits 1 ")  # the one that failed
    assert [
        r["number"] for r in call.json("trials", "digits", "--status", "failed", "--status", "paused")
    ] == [1]
    best = call.json("trials", "digits", "--best", "-n", "2")
    assert best[0]["metrics"]["accuracy"] > best[1]["metrics"]["accuracy"]
    assert "not shown: 3 earlier ones; -n 0 shows all" in call.printed("trials", "digits", "-n", "1")

    told = call.printed("trials", "digits", "1")
    assert told.startswith("trial 1 is failed\nsegment 0, attempt 2; 2 attempts failed; ")
    assert 'raise ValueError("no luck' in told
    assert "next: sweep logs digits 1 " in told
    plain = call.json("trials", "digits", "2")
    assert (plain["status"], plain["attempt"], plain["params"].keys()) == ("completed", 2, {"x"})
    assert [report["step"] for report in plain["reports"]] == [1, 2]

    with running("logs", "digits", "2") as logs:  # which writes bytes
        done = ended(logs)
    assert done.stdout == "begin 2\nbegin 2\n"
    said = [line for line in done.stderr.splitlines() if line.startswith("---")]
    assert said == ["--- trial 2, segment 0, attempt 1 ---", "--- trial 2, segment 0, attempt 2 ---"]
    assert done.stderr.endswith("next: sweep trials digits 2\n")
    assert call.lines("logs", "digits", "0") == [
        {"source": "trial 0, segment 0, attempt 1", "text": "begin 0\n"}
    ]

    with running("run", "mine.py:Talking", "--name", "talk") as talk:
        wait_until_recorded(project / ".metta-sweep/experiments/talk/outcomes.jsonl", '"began"')
        call.printed("pause", "talk")
        assert [row["state"] for row in call.json("ls") if "experiment" in row] == ["paused"]
        call.printed("resume", "talk")
        (project / "go").touch()
        assert ended(talk).returncode == 0
    assert call.json("logs", "talk", "speak") == {"source": "stage speak", "text": "three words here\n"}
    unknown = call("logs", "talk", "speek")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "error: talk: no stage 'speek' has printed anything on this machine; did you mean speak?;"
        " stages that did: speak\n",
    )
    assert [row.get("sweep") or row["experiment"] for row in call.json("ls")] == ["digits", "talk"]
    lines = call.printed("ls").splitlines()
    assert lines[0].split() == ["sweep", "state", "trials", "running", "failed", "time", "best", "metric"]
    assert lines[1].split()[:5] == ["digits", "finished", "4/4", "-", "1"]
    assert lines[2:4] == ["", "experiment  state     stages"]


def test_what_runs_is_followed_to_its_end(project: Path, call: Caller) -> None:
    script(project, "slow", name="digits")
    ledger = project / ".metta-sweep/sweeps/digits/ledger.jsonl"
    with (
        running("run", "mine.py") as run,
        running("watch", "--json") as everything,
    ):
        wait_until_recorded(ledger, '"start"')
        with running("watch", "digits") as watch, running("logs", "digits", "0", "--follow") as logs:
            assert ended(logs).stderr == "nothing was printed\nnext: sweep trials digits 0\n"
            assert '"segment":0' in ledger.read_text("utf-8")  # it waited until that was over
            assert ended(run).returncode == 0
            watched = ended(watch)
        assert everything.stdout
        states = list[str]()
        while states[-1:] != ["finished"]:
            states += [line["state"] for line in shapes("watch", everything.stdout.readline())]
        interrupt(everything)
        assert ended(everything).returncode == 130
    first, *_, last, following = watched.stdout.splitlines()
    assert first.startswith("digits: running, ")
    assert last.startswith("digits: finished, 3 started, 3 completed, best accuracy ")
    assert (following, watched.returncode) == ("next: sweep show digits", 0)
    assert states[0] == "running"


def test_who_follows_what_has_not_begun_waits_for_it(project: Path, call: Caller) -> None:
    (project / "mine.py").write_text(SCRIPT, "utf-8")
    with running("run", "mine.py:Talking", "--name", "talk") as talk:
        wait_until_recorded(project / ".metta-sweep/experiments/talk/outcomes.jsonl", '"began"')
        with running("logs", "talk", "speek", "-f") as speek:
            assert speek.stderr
            assert speek.stderr.readline().endswith("; waiting for it\n")
            (project / "go").touch()
            done = ended(speek)
            assert done.returncode == 2
            assert done.stderr.endswith("; did you mean speak?; stages that did: speak\n")
        assert ended(talk).returncode == 0

    (project / "mine.py").write_text(WAITING, "utf-8")
    with running("run", "mine.py") as run:
        wait_until_recorded(project / ".metta-sweep/sweeps/digits/ledger.jsonl", '"start"')
        with running("logs", "digits", "2", "-f") as last, running("logs", "digits", "3", "-f") as none:
            for logs in (last, none):
                assert logs.stderr
                assert logs.stderr.readline().startswith("note: there is no trial ")
            (project / "begin").touch()
            assert ended(last).stderr.endswith("next: sweep trials digits 2\n")
            done = ended(none)
            assert (done.returncode, done.stderr) == (
                2,
                "error: digits: there is no trial 3; its trials are 0 to 2\n",
            )
        assert ended(run).returncode == 0


def test_what_cannot_be_read_does_not_hide_the_others(project: Path, call: Caller) -> None:
    recorded(project, "sound")
    ledger = recorded(project, "damaged").ledger
    path = project / ".metta-sweep/sweeps/damaged/ledger.jsonl"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    (project / ".metta-sweep/sweeps/damaged/snapshot.jsonl").unlink()
    done = call("ls")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split()[:3] == ["sound", "finished", "3/3"]
    assert f"error: {path}, line 1 (byte 0) is damaged" in done.stderr
    assert ledger.exists()
    watched = call("watch", "sound", "damaged")
    assert (watched.returncode, watched.stdout.splitlines()[0]) == (
        1,
        "sound: finished, 3 started, 3 completed, best acc 0.2",
    )
    assert watched.stderr.startswith(f"note: {path}, line 1 (byte 0) is damaged")
    shutil.rmtree(project / ".metta-sweep/sweeps/sound")
    assert call("ls").stdout == ""


def test_without_a_server_that_answers_what_is_recorded_is_listed(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(project, "over")
    hand = ByHand(FileStore(project / ".metta-sweep").ledger("open"), slots=1)
    hand.open(trials=3)
    hand.tell()
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")  # where nobody listens
    done = call("ls")
    assert done.returncode == 1
    rows = [line.split()[:3] for line in done.stdout.splitlines()[1:3]]
    assert sorted(rows) == [["open", "running", "1/3"], ["over", "finished", "3/3"]]
    assert done.stderr.startswith("error: what is shown is what was recorded; nobody can tell what runs: ")
    with running("watch", "open") as watch:
        assert watch.stdout
        assert watch.stdout.readline() == "open: running, 1 started, 1 running\n"
        interrupt(watch)
        assert ended(watch).stderr.startswith("note: the Temporal server at 127.0.0.1:9 cannot be used: ")


def test_ctrl_c_ends_the_wait_for_a_log(project: Path) -> None:
    hand = ByHand(FileStore(project / ".metta-sweep").ledger("open"), slots=1)
    hand.open(trials=3)
    with running("logs", "open", "2", "--follow") as logs:
        assert logs.stderr
        assert (
            logs.stderr.readline()
            == "note: there is no trial 2; its trials are none so far; waiting for it\n"
        )
        interrupt(logs)
        done = ended(logs)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("trials", "digits", "7"), "digits: there is no trial 7; its trials are 0 to 2"),
        (("logs", "digits", "7"), "digits: there is no trial 7; its trials are 0 to 2"),
        (("logs", "digits", "first"), "digits: give the number of a trial, got 'first'"),
        (
            ("trials", "digits", "--status", "fialed"),
            "--status: unknown state 'fialed'; did you mean failed?",
        ),
        (
            ("trials", "digits", "1", "--best"),
            "--status and --best: they choose among trials, and one is given",
        ),
        (("trials", "digits", "-n", "-1"), "Invalid value for '--limit' / '-n': "),
        (("trials", "talk"), "talk: it is an experiment; only sweeps have trials to count"),
    ],
)
def test_a_mistake_is_told(project: Path, call: Caller, arguments: tuple[str, ...], problem: str) -> None:
    recorded(project)
    begun(project)
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {problem}")


@pytest.mark.parametrize("command", ["show", "trials", "watch", "attach", "retry", "diff"])
def test_an_unknown_name_gets_the_nearest_one(project: Path, call: Caller, command: str) -> None:
    recorded(project)
    done = call(command, "digit", *(["digits"] if command == "diff" else []))
    assert (done.returncode, done.stdout) == (1, "")
    assert "'digit' here; did you mean digits?" in done.stderr


def test_all_is_told_of_trials_that_have_nothing_to_tell(project: Path, call: Caller) -> None:
    hand = ByHand(FileStore(project / ".metta-sweep").ledger("empty"), slots=1)
    hand.open(trials=1)
    shown: Any = call.json("trials", "empty")
    assert shown == []
    hand.tell()
    told = call.printed("trials", "empty", "0")
    assert told.startswith("trial 0 is running\nsegment 0, attempt 1; 0.0 s of work, seed ")
