"""Whom to end when workers of several versions serve a queue: nobody but processes of this machine."""

import os
from socket import gethostname

import pytest

from metta.sweep.client.health.versions import versions_found
from metta.sweep.client.identities import Identity

HERE = gethostname()


def worker(version: str, pid: int | None = None, host: str = HERE) -> Identity:
    return Identity(os.getpid() if pid is None else pid, host, version)


def test_old_workers_of_this_machine_can_be_ended() -> None:
    [mixed] = versions_found("q", [worker("0.9.1", os.getppid()), worker("0.10.0"), Identity(None, "mine")])
    assert mixed.command == f"kill {os.getppid()}", "0.10 is newer than 0.9"


@pytest.mark.parametrize(
    "old",
    [
        worker("0.0.9", 1),  # the first process of a container
        worker("0.0.9", os.getpid(), "elsewhere"),
        Identity(None, HERE, "0.0.9"),
        worker("0.0.9", 2**22 + 1),  # nobody is called so
        worker("unknown"),
    ],
    ids=["first process", "elsewhere", "no process", "no such process", "no version"],
)
def test_no_command_ends_what_may_be_somebody_else(old: Identity) -> None:
    fine = worker("0.0.8", os.getppid())
    [mixed] = versions_found("q", [fine, old, worker("0.1.0")])
    assert mixed.command == ""
    assert f"{old.version} ({str(old).split()[0]})" in mixed.text, "it is named all the same"


def test_the_version_of_this_command_is_not_taken_for_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metta.sweep.client.health.versions.version_here", lambda: "0.0.9")
    [mixed] = versions_found("q", [worker("0.0.9", os.getppid()), worker("0.1.0")])
    assert mixed.command == f"kill {os.getppid()}"
    assert "0.0.9" not in mixed.cure
    [mixed] = versions_found("q", [worker("0.1.0"), worker("0.2.0", os.getppid())])
    assert mixed.command == f"kill {os.getpid()}", "neither is this command's"
