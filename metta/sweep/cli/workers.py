"""What the command does and says of shared workers."""

import asyncio
from collections.abc import Sequence

from metta.sweep.cli.output import Printer
from metta.sweep.client.environment import check_environment
from metta.sweep.client.settings import Settings
from metta.sweep.telemetry.endpoints import Endpoints
from metta.sweep.telemetry.logs import configure_logs
from metta.sweep.worker.shared import Served, Shared


class WorkerOutput(Printer):
    """Prints what a shared worker is."""

    def began(self, served: Served) -> None:
        """Which queue it serves, and what it takes."""
        if self._json:
            self._print(served)
            return
        self._say(f"queue    {served.queue}")
        self._say(f"modules  {', '.join(served.modules)}")
        self._say(f"allows   {', '.join(served.allow) or 'no commands, scripts, code by value or pickles'}")
        self._say("Ctrl-C ends it; its work goes on with another worker.")
        self._next(f"sweep start FILE --queue {served.queue}")


def serve_shared(
    settings: Settings,
    modules: Sequence[str],
    allow: Sequence[str],
    queue: str,
    addresses: tuple[str | None, str | None],
    as_json: bool,
) -> None:
    """Serve a queue until the process is told to end; see ``Shared``, and ``Endpoints`` for the addresses.

    Raises:
        DefinitionError: When the environment is wrong, a module cannot be imported, somebody allows what
            there is not, or the worker cannot be looked at where that is wanted.
        ServerError: When there is no server.
    """
    check_environment(lambda: Endpoints.load(*addresses))
    configure_logs()
    shared = Shared(settings, modules, allow, queue, Endpoints.load(*addresses))
    output = WorkerOutput(as_json)
    asyncio.run(shared.served(lambda: output.began(shared.description)))
