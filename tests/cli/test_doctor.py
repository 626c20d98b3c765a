"""What ``sweep doctor`` prints, and how it ends."""

import subprocess
from pathlib import Path

import pytest

from metta.sweep.client.health.findings import Finding
from metta.sweep.client.launches import Launch, Launches
from metta.sweep.client.settings import Settings
from tests.cli.commands import running, script, wait_until_recorded
from tests.cli.conftest import Caller
from tests.rig import code_in, pid_in


def test_a_healthy_project_is_called_so_and_nothing_is_made(project: Path, call: Caller) -> None:
    lines = call.printed("doctor").splitlines()
    assert lines[0] == "settings"
    assert lines[-2:] == ["healthy", "next: sweep ls"]
    assert not (project / ".metta-sweep").exists()


def test_a_problem_is_told_with_its_cure_and_ends_with_one(
    project: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    done = call("doctor")
    monkeypatch.delenv("TEMPORAL_ADDRESS")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    [at] = [n for n, line in enumerate(lines) if line.startswith("  problem")]
    assert lines[at].startswith("  problem  the server at 127.0.0.1:1 cannot be used: ")
    assert lines[at + 1].startswith("           cure: see that it runs")
    assert lines[at + 2] == "           $ temporal operator cluster health --address 127.0.0.1:1"
    assert lines[-2:] == [
        "1 problem, 4 warnings",
        "next: temporal operator cluster health --address 127.0.0.1:1",
    ]


def test_machines_get_every_finding_in_one_shape(project: Path, call: Caller) -> None:
    found = call.json("doctor")
    assert [Finding.model_validate(one).model_dump(mode="json") for one in found] == found
    assert {one["check"] for one in found} == {"settings", "store", "server"}


def test_wrong_usage_is_told(project: Path, call: Caller) -> None:
    done = call("doctor", "--fxi")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such option: --fxi")


def test_a_worker_that_was_killed_is_told_and_started_again(project: Path, call: Caller) -> None:
    script(project, "slow", name="slow")
    ledger = project / ".metta-sweep/sweeps/slow/ledger.jsonl"
    with running("run", "mine.py") as command:
        wait_until_recorded(ledger, '"type":"reported"')
        command.kill()  # or it would bring the worker back
    launches = Launches(Settings.load().home)
    subprocess.run(["kill", "-9", str(pid_in(launches.lock("slow")))], check=True)
    done = call("doctor")
    assert done.returncode == 1
    assert "problem  the worker of slow does not live" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["1 problem", "next: sweep doctor --fix"]
    told = call.printed("doctor", "--fix").splitlines()
    assert "           started the worker of slow" in told
    assert told[-2:] == ["no problems, 1 mended", "next: sweep ls"]
    assert call.printed("attach", "slow")
    assert call.printed("doctor").splitlines()[-2] == "healthy"


def test_a_launch_without_a_workflow_is_closed_when_that_is_wanted(project: Path, call: Caller) -> None:
    folder = project / ".metta-sweep/launches"
    folder.mkdir(parents=True)
    old = Launch(queue="gone", code=code_in(project), opened_at=1.0)
    (folder / "gone.json").write_text(old.model_dump_json(), "utf-8")
    done = call("doctor")
    assert done.returncode == 1
    assert "the launch of gone is unfinished, and Temporal knows no running workflow for it" in done.stdout
    assert Launches(Settings.load().home).unfinished() == ["gone"], "it only looks"
    assert "closed the launch" in call.printed("doctor", "--fix")
    assert Launches(Settings.load().home).unfinished() == []


@pytest.mark.parametrize(
    "command",
    [
        "temporal operator search-attribute remove --yes --name SweepBest && temporal operator ...",
        "temporal workflow terminate --workflow-id a && sweep retry a",
        "temporal workflow show --workflow-id a && rm a",
        "rm /home/ada/.metta-sweep/launches/a.json",
        "kill 17",
        "fuser -k a.lock",
        "sudo chown -R 0:0 a",
        "head -c 7 ledger.jsonl > repaired.jsonl",
        "sweep retry a",
        "sweep gc --delete",
        "sweep dev --stop",
        "sweep dev --stop && sweep ls",
        "sweep worker --queue a",
        "temporal activity unpause --workflow-id a --activity-id 1",
    ],
)
def test_the_next_command_ends_and_removes_nothing(
    command: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problem(command: str) -> Finding:
        return Finding(check="workers", code="worker-idle", severity="problem", text="so", command=command)

    def last_of(*findings: Finding) -> str:
        async def found(fix: bool) -> list[Finding]:
            return [*findings]

        monkeypatch.setattr("metta.sweep.client.health.examination.examined", found)
        done = call("doctor")
        assert f"$ {command}" in done.stdout, "it is told as the cure all the same"
        return done.stdout.splitlines()[-1]

    assert last_of(problem(command)) == "next: sweep doctor"
    assert last_of(problem(command), problem("tail -n 50 'a b.log'")) == "next: tail -n 50 'a b.log'"
    assert last_of(problem(command), problem("sweep doctor --fix")) == "next: sweep doctor --fix"
    warning = problem(command).model_copy(update={"severity": "warning"})
    assert last_of(warning) == "next: sweep ls"
