"""Development: server, UI and worker of a project in the foreground."""

import asyncio
import json
import sys
from pathlib import Path

from rich.console import Console

from metta.sweep.client.environment import check_environment
from metta.sweep.client.launches import Launches
from metta.sweep.client.server import NAMESPACE, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.client.starts import Starts, code_here
from metta.sweep.contracts.errors import DefinitionError
from metta.sweep.telemetry.endpoints import Endpoints
from metta.sweep.telemetry.logs import configure_logs
from metta.sweep.worker.main import QUEUE, serve


def run_dev(settings: Settings, console: Console, as_json: bool = False) -> None:
    """Run a server, its UI and a worker until Ctrl-C.

    Args:
        settings: Which project.
        console: Where to say how they are reached.
        as_json: Whether a machine reads it.

    Raises:
        DefinitionError: When the project uses a server of its own already, or the environment is wrong.
        ServerError: When it cannot be started.
    """
    if not settings.is_embedded:
        raise DefinitionError(
            [f"Temporal's configuration names {settings.connect['target_host']}; run a worker for that"],
            "sweep dev",
        )
    check_environment()
    configure_logs()
    starts = Starts(settings)  # sets going again what somebody killed
    server = EmbeddedServer(settings.home / "server")
    info = server.ensure()
    if starts.note:  # of something else than the server
        print(f"note: {starts.note}", file=sys.stderr)
    where = {"ui": info.ui, "address": info.address, "namespace": NAMESPACE, "queue": QUEUE}
    text = (
        f"UI       {info.ui}\n"
        f"server   export TEMPORAL_ADDRESS={info.address} TEMPORAL_NAMESPACE={NAMESPACE}\n"
        f"queue    {QUEUE}\n"
        f"start    temporal workflow start --type Sweep --task-queue {QUEUE} --workflow-id NAME"
        " --input-file FILE\n"
        "Ctrl-C ends the worker; `sweep dev --stop` ends everything."
    )
    sys.path.insert(0, str(Path.cwd()))  # where `python -m` looks for modules, too; a command does not

    def began() -> None:
        console.print(json.dumps(where) if as_json else text, highlight=False, soft_wrap=True, markup=False)

    with server.attended():
        asyncio.run(serve(settings, QUEUE, code_here(), Endpoints.load(), began))


def stop_dev(settings: Settings, console: Console, as_json: bool = False) -> None:
    """Stop all workers and the server of a project; unfinished sweeps go on with the next command.

    Args:
        settings: Which project.
        console: Where to say what was stopped.
        as_json: Whether a machine reads it.

    Raises:
        ServerError: When one of them does not end.
    """
    stopped = Launches(settings.home).stop()
    had_server = EmbeddedServer(settings.home / "server").stop()
    workers = f"the workers of {', '.join(stopped)}" if stopped else "no worker"
    text = f"stopped {workers} and {'the server' if had_server else 'no server'}"
    what = {"workers": stopped, "server": had_server}
    console.print(json.dumps(what) if as_json else text, highlight=False, soft_wrap=True, markup=False)
