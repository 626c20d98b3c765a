"""What a program leaves under way when it ends must not hold it up, nor break it."""

import subprocess
import sys
from threading import Event, Thread

from metta.sweep.client.loop import _is_quiet
from metta.sweep.client.settings import Settings

WAITING = """\
import asyncio, time
from metta.sweep.client.loop import submit

async def wait():
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("given up")
        raise

submit(wait())
time.sleep(0.1)
"""

ASKING = """\
import sys
from temporalio.client import Client
from metta.sweep.client.loop import call, submit

client = call(Client.connect(sys.argv[1]))
for _ in range(200):
    submit(client.count_workflows())
"""


def ended(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", *command], timeout=30, check=True, stdout=-1, text=True
    ).stdout


def test_calls_under_way_are_given_up_at_the_end() -> None:
    assert ended(WAITING) == "given up\n"


def test_answers_that_come_while_python_shuts_down_break_nothing(server: Settings) -> None:
    assert ended(ASKING, str(server.connect["target_host"])) == ""


def test_a_thread_that_works_is_waited_for() -> None:
    stop = Event()

    def work() -> None:
        while not stop.is_set():
            pass

    thread = Thread(target=work)
    thread.start()
    try:
        assert not _is_quiet()
    finally:
        stop.set()
        thread.join()
    assert any(_is_quiet() for _ in range(100))  # others of this process may have work of their own
