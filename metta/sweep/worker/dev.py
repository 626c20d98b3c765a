"""Development: server, UI and worker of a project in the foreground."""

import asyncio

from rich.console import Console

from metta.sweep.client.launches import Launches
from metta.sweep.client.server import NAMESPACE, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.client.sweeps import Sweeps, code_here
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.worker.main import QUEUE, serve


def run_dev(settings: Settings, console: Console) -> None:
    """Run a server, its UI and a worker until Ctrl-C.

    Raises:
        DefinitionError: When the project uses a server of its own already.
        ServerError: When it cannot be started.
    """
    if not settings.is_embedded:
        raise DefinitionError(
            [f"Temporal's configuration names {settings.connect['target_host']}; run a worker for that"],
            "sweep dev",
        )
    Sweeps(settings)  # sets going again what somebody killed
    server = EmbeddedServer(settings.store / "server")
    info = server.ensure()
    console.print(
        f"UI       {info.ui}\n"
        f"server   export TEMPORAL_ADDRESS={info.address} TEMPORAL_NAMESPACE={NAMESPACE}\n"
        f"queue    {QUEUE}\n"
        f"start    temporal workflow start --type Sweep --task-queue {QUEUE} --workflow-id NAME"
        " --input-file FILE\n"
        "Ctrl-C ends the worker; `sweep dev --stop` ends everything.",
        highlight=False,
        soft_wrap=True,
    )
    with server.attended():
        asyncio.run(serve(settings, QUEUE, code_here()))


def stop_dev(settings: Settings, console: Console) -> None:
    """Stop all workers and the server of a project; unfinished sweeps go on with the next command.

    Raises:
        ServerError: When one of them does not end.
    """
    stopped = Launches(settings.store).stop()
    had_server = EmbeddedServer(settings.store / "server").stop()
    workers = f"the workers of {', '.join(stopped)}" if stopped else "no worker"
    console.print(f"stopped {workers} and {'the server' if had_server else 'no server'}", highlight=False)
