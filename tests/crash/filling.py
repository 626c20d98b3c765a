"""Fill the disk under a running sweep, and free it again: `python -m tests.crash.filling SWEEPS KEPT`.

For a process that alone sees the small disk at SWEEPS: what was recorded there is copied to the folder KEPT.
"""

import asyncio
import sys
from pathlib import Path
from shutil import copy, copytree
from time import sleep

from rich.console import Console

from metta.sweep.client.connection import connect
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.sweeps import SweepStatus
from metta.sweep.worker.dev import stop_dev
from tests.crash.evidence import Evidence
from tests.crash.training import audit_of, narrow

NAME = "full"
BUDGET = 12
PAGE = bytes(4096)


def main(sweeps: Path, kept: Path) -> None:
    handle = narrow.start(BUDGET, name=NAME)
    evidence = Evidence(NAME, sweeps.parent)
    evidence.wait_for(reports=30)
    filler = sweeps / "filler"
    fill(filler)
    evidence.wait_until(lambda: "no room is left" in note())
    before = evidence.recorded()
    sleep(2)
    assert evidence.recorded() == before, "there is no room, and yet it records"
    filler.unlink()
    handle.result().progress  # noqa: B018 - waits for the end
    evidence.assert_kept(before)
    stop_dev(Settings.load(), Console(quiet=True))
    copytree(sweeps, kept / sweeps.name)
    copy(audit_of(evidence.folder), kept)


def fill(file: Path) -> None:
    """Write until no page is left."""
    with file.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(PAGE)
        except OSError:
            pass


def note() -> str:
    """What the sweep says that it waits for."""

    async def asked() -> str:
        workflow = (await connect(Settings.load())).get_workflow_handle(NAME)
        status: SweepStatus = await workflow.query("status", result_type=SweepStatus)
        return status.progress.note

    return asyncio.run(asked())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
