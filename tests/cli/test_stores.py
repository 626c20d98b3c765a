"""A bucket that is away: commands that look say so and fail, those that watch wait for it."""

from pathlib import Path

import pytest

from tests.cli.commands import ended, interrupt, running
from tests.cli.conftest import Caller

TOLD = "http://127.0.0.1:9 cannot be reached for s3://lab/x/"


@pytest.fixture(autouse=True)
def _away(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "METTA_SWEEP_STORE": "s3://lab/x",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # where nobody listens
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "mine",
        "AWS_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("command", ["ls", "show digits", "trials digits", "logs digits 0", "export digits"])
def test_who_looks_is_told_that_it_is_away(call: Caller, command: str) -> None:
    done = call(*command.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {TOLD}")


def test_who_watches_is_told_and_waits_for_it() -> None:
    with running("watch", "digits") as watch:
        assert watch.stderr
        assert watch.stderr.readline().startswith(f"note: {TOLD}")
        interrupt(watch)
        assert ended(watch).returncode == 130
