"""Workers as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metta.sweep.client.settings import Settings
from tests.rig import Rig


@contextmanager
def worker(
    rig: Rig, server: Settings, *arguments: str, **variables: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker that serves the queue of a rig; its log lies beside the objectives.

    Args:
        rig: The rig.
        server: Leads to its server.
        *arguments: What it is told besides; without any, where the rig's store is. It consents to all code.
        **variables: Its environment besides.
    """
    where = {
        "TEMPORAL_ADDRESS": str(server.connect["target_host"]),
        "TEMPORAL_NAMESPACE": str(server.connect["namespace"]),
        "PYTHONPATH": os.pathsep.join([str(rig.folder), *sys.path]),
    }
    command = [sys.executable, "-m", "metta.sweep.worker", "--queue", rig.queue]
    if "--launch" not in arguments:
        command += ["*", "--allow=commands", "--allow=scripts", "--allow=by-value"]
    with (rig.folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *(arguments or ("--store", str(rig.store.root)))],
            cwd=rig.folder,
            env={**os.environ, **where, **variables},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def log_of(rig: Rig) -> str:
    return Path(rig.folder / "worker.log").read_text("utf-8")
