import asyncio
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from metta.sweep.client.settings import Settings
from tests.rig import definition, runners_of, standing, until
from tests.worker.processes import log_of, worker

END_S = 15

HANGING = """
from pathlib import Path
from time import sleep

Path("hangs").touch()
while True:
    sleep(1)
"""


async def test_a_worker_that_is_told_to_end_does_so_and_another_one_goes_on(
    server: Settings, tmp_path: Path
) -> None:
    rig = await standing(server, tmp_path / "rig")
    with ExitStack() as processes:
        workers = [processes.enter_context(worker(rig, server)) for _ in range(2)]
        handle = await rig.started(budget=2)
        host = next(process for process in workers if runners_of(process.pid))
        runners = runners_of(host.pid)
        host.terminate()
        assert await asyncio.to_thread(host.wait, END_S) == 0
        assert not any(psutil.pid_exists(pid) for pid in runners)
        await until(lambda: rig.table(handle.id).epoch == 2)
        rig.open_gate()
        assert (await handle.result())["progress"]["counts"]["completed"] == 2
        assert [record.attempt for record in rig.table(handle.id).records] == [2, 1]
        assert "Traceback" not in log_of(rig)


async def test_a_worker_ends_although_a_session_hangs(server: Settings, tmp_path: Path) -> None:
    rig = await standing(server, tmp_path / "rig")
    (rig.folder / "hanging.py").write_text(HANGING, "utf-8")
    with worker(rig, server) as process:
        handle = await rig.start(definition(optimizer="hanging:Optimizer"))
        await until((rig.folder / "hangs").exists)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 2 * END_S) == 0
        assert f"the session of {handle.id} does not end" in log_of(rig)
    await handle.terminate()


def test_a_worker_that_cannot_start_says_why(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-m", "metta.sweep.worker"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the Temporal server at 127.0.0.1:1 cannot be used: ")
    assert "Traceback" not in done.stderr
