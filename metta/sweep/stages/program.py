"""The stage process: a program that carries out one task after the other.

It exchanges lines with the worker that started it, over a socket: a ``Setting`` comes first, which it answers
when it is ready; then a ``Reply`` answers each ``Task``. Before that, it may ask for nested runs.
"""

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from socket import socket
from traceback import print_exception

from metta.sweep.contracts.errors import DefinitionError, StageFailed
from metta.sweep.contracts.plans import StageFailure
from metta.sweep.pipeline.packing import Unpackable
from metta.sweep.pipeline.unpacking import Misread
from metta.sweep.runners.failures import failure_of
from metta.sweep.runners.objective import enter
from metta.sweep.runners.runner import die_with, flush
from metta.sweep.stages.channel import Channel
from metta.sweep.stages.desk import Desk
from metta.sweep.stages.messages import LoadTask, PlanTask, Reply, StageTask, Task
from metta.sweep.stages.nesting import Trouble
from metta.sweep.telemetry.scopes import names_of_order, scope
from metta.sweep.telemetry.tracing import continued


def main(connection: int, life: int) -> None:
    """Carry out tasks until the worker is gone.

    Args:
        connection: Descriptor of the socket to the worker.
        life: Descriptor that the worker never writes to: its end is the end of the worker.
    """
    die_with(life)
    # not SIG_IGN, which the programs that a stage starts would inherit
    signal.signal(signal.SIGINT, lambda *_: None)
    faulthandler.enable()
    _configure_logs()
    channel = Channel(socket(fileno=connection))
    setting = channel.setting()
    pid = os.getpid()
    enter(setting.code)
    os.environ["METTA_SWEEP_STORE"] = setting.store  # for what stages hand over to the runs that they start
    folder = os.getcwd()
    desk = Desk(setting, channel)
    channel.ready()
    with asyncio.Runner() as runner:
        for task in channel.tasks():
            about = names_of_order(getattr(task, "order", None))
            with _printing_to(task.log), scope(about), continued(task.traceparent):
                reply = runner.run(_replied(desk, task), context=copy_context())
            if os.getpid() != pid:
                os._exit(0)  # a child that the stage forked has no business here
            channel.tell(reply)
            os.chdir(folder)


def _configure_logs() -> None:
    """Lines of user code and of its libraries go to the stage's own log; a wrong setting ends no stage."""
    if os.environ.get("METTA_SWEEP_LOG", "").lower() == "json":
        from metta.sweep.telemetry.logs import configure_logs  # which most stages need not wait for

        with suppress(DefinitionError):  # our own workers have told of it
            configure_logs()
            return
    wanted = os.environ.get("METTA_SWEEP_LOG_LEVEL", "").upper()
    level = logging.getLevelNamesMapping().get(wanted, logging.INFO)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


async def _replied(desk: Desk, task: Task) -> Reply:
    try:
        return await desk.carried_out(task)
    except DefinitionError as error:
        return Reply(mistakes=error.problems)
    except StageFailed as error:
        if error.__cause__:
            print(failure_of(error.__cause__)[2], file=sys.stderr)
        return Reply(failure=error.failure)
    except (Unpackable, Misread) as error:
        if isinstance(task, PlanTask | LoadTask):
            return Reply(mistakes=(f"its input: {error}",))
        failure = StageFailure(stage=str(task.order.at), kind="contract", message=str(error))
        return Reply(failure=failure)
    except (asyncio.CancelledError, BaseExceptionGroup) as error:  # the user's: nobody else cancels here
        print_exception(error)
        return _failed(task, error)
    except Trouble as error:
        return Reply(trouble=str(error))
    except Exception as error:  # the store's or ours: not of the stage, and perhaps mended soon
        print_exception(error)
        return Reply(trouble=f"{type(error).__name__}: {error}")


def _failed(task: Task, error: BaseException) -> Reply:
    problem = f"it ended by {type(error).__name__}: {error}".rstrip(": ")
    if isinstance(task, PlanTask | LoadTask):
        return Reply(mistakes=(problem,))
    attempts = task.failed + 1 if isinstance(task, StageTask) else 0
    failure = StageFailure(stage=str(task.order.at), kind="user", message=problem, attempts=attempts)
    return Reply(failure=failure)


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Within it all that this process and its children print is appended to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    before = os.dup(1), os.dup(2)
    try:
        for stream in (1, 2):
            os.dup2(target, stream)
        yield
    finally:
        flush()
        for stream, copy in zip((1, 2), before, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(target)


if __name__ == "__main__":
    with suppress(ConnectionError):
        main(*(int(argument) for argument in sys.argv[1:3]))
