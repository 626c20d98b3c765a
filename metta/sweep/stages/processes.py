"""Stage processes as a worker sees them: started when they are needed, killed when they hang."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from socket import socketpair
from time import monotonic

from pydantic import TypeAdapter

from metta.sweep.contracts.errors import SweepError
from metta.sweep.contracts.models import Wire
from metta.sweep.contracts.plans import StageFailureKind
from metta.sweep.runners.deaths import cause_of, oom_kills_lately
from metta.sweep.runners.environments import environment
from metta.sweep.stages.messages import Asked, Begun, Dropped, Outgoing, Reply, Setting, Task
from metta.sweep.stages.permits import Permit, Permits
from metta.sweep.stages.waits import NOBODY, Clock, Nest, Waits

_OUTGOING = TypeAdapter[Outgoing](Outgoing)

LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is read from a process; values are far shorter."""

TAIL_BYTES = 8000
"""So much of a log is evidence of why a process died."""


class StageDied(SweepError):
    """The process of a stage ended before it had answered.

    Args:
        kind: Whose fault it is; None when it is nobody's.
        message: How it ended.
        tail: The last that it printed.
        code: What changes with the code of the stage; empty when it had not begun.
    """

    def __init__(self, kind: StageFailureKind | None, message: str, tail: str, code: str = "") -> None:
        self.kind: StageFailureKind | None = kind
        self.message, self.tail, self.code = message, tail, code

    def __str__(self) -> str:
        return f"{self.message}\n{self.tail}".rstrip()


class StageProcess:
    """One process, which carries out one task after the other."""

    def __init__(self) -> None:
        self._ooms = oom_kills_lately()
        self._code = ""

    async def start(self, setting: Setting, threads: int) -> None:
        """Start it, and wait until it is ready for its first task.

        Args:
            setting: What it is told first.
            threads: Threads that its libraries may use.

        Raises:
            StageDied: When it ended before.
            OSError: When it cannot be started.
        """
        ours, theirs = socketpair()
        life, self._life = os.pipe()
        self._output = os.memfd_create("stage", os.MFD_CLOEXEC)  # what it prints outside of a task
        passed = (theirs.fileno(), life)
        try:
            self._process = await asyncio.create_subprocess_exec(
                # -P: what lies about in the working directory must not stand in for Python's own modules
                *[sys.executable, "-P", "-m", "metta.sweep.stages.program", *map(str, passed)],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=passed,
                # sets of strings in the same order at each attempt, which asks for the same runs again
                env={"PYTHONHASHSEED": "0", **environment(threads), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # a group of its own, so that its children can be killed with it
            )
        except OSError:
            ours.close()
            for descriptor in (self._life, self._output):
                os.close(descriptor)
            raise
        finally:
            theirs.close()
            os.close(life)
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
        self._writer.write(setting.model_dump_json().encode() + b"\n")
        if not await self._reader.readline():
            raise await self._death(None, 0)

    async def carried_out(
        self, task: Task, timeout_s: float | None, permit: Permit, nest: Nest = NOBODY
    ) -> Reply:
        """Let it carry out a task.

        Args:
            task: What to do.
            timeout_s: Longest time it may take, waits for nested runs left out.
            permit: Is lent to others during these waits.
            nest: What carries nested runs out.

        Raises:
            StageDied: When it ended, or was killed because that took too long.
        """
        self._ooms, self._code = oom_kills_lately(), ""
        offset = task.log.stat().st_size if task.log.exists() else 0
        await self._tell(task)
        try:
            async with asyncio.timeout(timeout_s) as limit:
                reply = await self._replied(Waits(nest, permit, Clock(limit), self._tell))
        except TimeoutError:
            await self.close()
            message = f"it took longer than {timeout_s:g} s"
            raise StageDied("timeout", message, _tail(task.log, offset), self._code) from None
        if reply is None:
            raise await self._death(task.log, offset)
        return reply

    async def _replied(self, waits: Waits) -> Reply | None:
        """The reply to a task; None when the process has ended before."""
        try:
            while (line := await self._reader.readline()).endswith(b"\n"):
                match _OUTGOING.validate_json(line):
                    case Asked(number=number, run=run):
                        waits.ask(number, run)
                    case Dropped(number=number):
                        waits.drop(number)
                    case Begun(code=code):
                        self._code = code
                    case Reply() as reply:
                        return reply.model_copy(update={"code": self._code})
            return None
        finally:
            await waits.close()

    async def _tell(self, said: Wire) -> None:
        with suppress(ConnectionError):  # when it has died, that is noticed elsewhere
            self._writer.write(said.model_dump_json().encode() + b"\n")
            await self._writer.drain()

    async def _death(self, log: Path | None, offset: int) -> StageDied:
        with suppress(ProcessLookupError):  # children that it leaves behind go with it
            os.killpg(self._process.pid, signal.SIGKILL)
        status = await self._process.wait()
        kind, message = cause_of(status, self._ooms)
        before = os.pread(self._output, TAIL_BYTES, max(0, os.fstat(self._output).st_size - TAIL_BYTES))
        tail = (log and _tail(log, offset)) or before.decode(errors="replace").strip()
        await self.close()
        return StageDied(None if kind == "infra" else kind, message, tail, self._code)

    async def close(self) -> None:
        """Kill it and its children, and give everything back."""
        if self._life < 0:
            return
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        for descriptor in (self._life, self._output):
            os.close(descriptor)
        self._life = -1


class StageProcesses:
    """All stage processes of a worker; each carries out one task at a time.

    Args:
        setting: What each of them is told first.
        permits: So many of them run code at the same time; None takes the number of cores. Those whose
            stages wait for nested runs do not count.

    Attributes:
        limit: How many permits there are.
    """

    def __init__(self, setting: Setting, permits: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0))
        self._setting = setting
        self.limit = permits or cores
        self._threads = max(1, cores // self.limit)
        self._permits = Permits(self.limit)
        self._held: set[Permit] = set()
        self._ready = asyncio.Queue[StageProcess | Exception]()
        self._count = 0
        self._waiting = 0
        self._starting: set[asyncio.Task[None]] = set()

    async def carried_out(
        self,
        task: Task,
        timeout_s: float | None = None,
        first: Task | None = None,
        nest: Nest = NOBODY,
    ) -> tuple[Reply, float]:
        """Carry out a task as soon as there is a permit.

        Args:
            task: What to do.
            timeout_s: Longest time it may take, waiting left out.
            first: What the same process does before, in whatever time that takes.
            nest: What carries out the nested runs of a stage.

        Returns:
            What came of it, and how many seconds it took.

        Raises:
            StageDied: When its process ended before.
            OSError: When no process can be started.
        """
        async with Permit(self._permits) as permit, self._taken(permit) as process:
            if first:
                await process.carried_out(first, None, permit)
            began = monotonic()
            reply = await process.carried_out(task, timeout_s, permit, nest)
            return reply, monotonic() - began

    def prepare(self, count: int, first: Task | None = None) -> None:
        """Start processes for so many more tasks than are carried out; it takes a while.

        Args:
            count: So many tasks.
            first: What each of the new processes does before it is given another task.
        """
        for _ in range(min(count - self._ready.qsize() - len(self._starting), self._room)):
            self._count += 1
            starting = asyncio.create_task(self._start(first))
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)

    async def close(self) -> None:
        """Kill those that have nothing to do; the others end with their tasks."""
        await asyncio.gather(*self._starting)
        while not self._ready.empty():
            process = self._ready.get_nowait()
            if isinstance(process, StageProcess):
                await process.close()

    @property
    def _room(self) -> int:
        """How many more processes may be started; those that wait for nested runs do not count."""
        return self.limit - self._count + sum(permit.is_lent for permit in self._held)

    @asynccontextmanager
    async def _taken(self, permit: Permit) -> AsyncIterator[StageProcess]:
        """A process for one task."""
        process = await self._found()
        self._held.add(permit)
        try:
            yield process
        except BaseException:  # also when nobody wants to know any more: its code is not to go on
            self._held.discard(permit)
            await asyncio.shield(self._end(process))
            raise
        self._held.discard(permit)
        if self._room < 0:  # others were started while it waited
            await self._end(process)
        else:
            self._ready.put_nowait(process)

    async def _end(self, process: StageProcess) -> None:
        await process.close()
        self._count -= 1
        self.prepare(self._waiting)

    async def _found(self) -> StageProcess:
        self._waiting += 1
        try:
            self.prepare(self._waiting)
            # the first one that is ready: a new one takes longer than most tasks
            process = await self._ready.get()
        finally:
            self._waiting -= 1
        if isinstance(process, Exception):
            raise process
        return process

    async def _start(self, first: Task | None) -> None:
        process = StageProcess()
        try:
            await process.start(self._setting, self._threads)
            if first:
                await process.carried_out(first, None, Permit(self._permits))
        except (OSError, StageDied) as error:
            self._count -= 1
            self._ready.put_nowait(error)
        else:
            self._ready.put_nowait(process)


def _tail(log: Path, offset: int) -> str:
    """The end of what was appended to a log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(offset, log.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
