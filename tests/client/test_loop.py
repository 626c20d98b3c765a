import asyncio
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from metta.sweep.client.loop import call, submit

INTERRUPTED = """
import asyncio
from metta.sweep.client.loop import call

async def wait():
    print("waiting", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise

try:
    call(wait())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def failing() -> None:
    raise ValueError("no")


def test_a_coroutine_runs_beside_and_its_result_or_error_comes_back() -> None:
    assert call(doubled(4)) == 8
    assert submit(doubled(5)).result() == 10
    with pytest.raises(ValueError, match="no"):
        call(failing())


async def test_it_works_where_a_loop_runs_already() -> None:
    assert call(doubled(4)) == 8


def test_many_threads_share_it() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda n: call(doubled(n)), range(50))) == [2 * n for n in range(50)]


def test_ctrl_c_gives_up_the_call() -> None:
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "waiting\n"
        program.send_signal(signal.SIGINT)
        said = program.stdout.read()  # by two threads, whose lines may run into one another
        assert "cancelled" in said
        assert "interrupted" in said
        assert program.wait() == 0
