"""A shared worker: it serves a queue to which anybody sends work, and takes the code that is registered."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from metta.sweep.client.settings import Serving, Settings
from metta.sweep.client.starts import code_here
from metta.sweep.contracts.consent import Consent
from metta.sweep.contracts.models import Wire, parse
from metta.sweep.telemetry.endpoints import Endpoints
from metta.sweep.worker.main import QUEUE, serve
from metta.sweep.worker.plugin import import_registered


class Served(Wire):
    """What a shared worker is.

    Args:
        queue: The queue that it serves.
        modules: What is registered with it.
        allow: What it consents to besides.
    """

    queue: str
    modules: tuple[str, ...]
    allow: tuple[str, ...]


class Shared:
    """A worker of a shared queue.

    Args:
        settings: Which server and store; their ``worker`` says what holds where nothing is given.
        modules: What it registers.
        allow: What it consents to besides: ``commands``, ``scripts``, ``by-value``, ``pickle``.
        queue: The queue; empty takes that of the settings, else ``metta-sweep``.
        endpoints: Where the worker can be looked at; None takes what the environment says.

    Raises:
        DefinitionError: With all modules that cannot be imported, or with names that are none.
    """

    def __init__(
        self,
        settings: Settings,
        modules: Iterable[str] = (),
        allow: Iterable[str] = (),
        queue: str = "",
        endpoints: Endpoints | None = None,
    ) -> None:
        given = {"modules": [*modules], "allow": [*allow]}
        given = {name: value for name, value in given.items() if value}
        said = parse(Serving, {**settings.worker.model_dump(), **given}, "the worker")
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)  # where `python -m` looks for modules, too; a command does not
        import_registered(said.modules)
        may_pickle = settings.pickle is True or "pickle" in said.allow
        self._endpoints = endpoints
        self._settings = replace(settings, pickle=may_pickle)
        self._consent = Consent(
            modules=said.modules,
            commands="commands" in said.allow,
            scripts="scripts" in said.allow,
            by_value="by-value" in said.allow,
        )
        self.description = Served(
            queue=queue or settings.queue or QUEUE,
            modules=self._consent.registered,
            allow=tuple(sorted({*said.allow, *(["pickle"] if may_pickle else [])})),
        )

    async def served(self, began: Callable[[], None] | None = None) -> None:
        """Serve the queue until the process is told to end.

        Args:
            began: Called once it serves.

        Raises:
            DefinitionError: When nobody can look at it where that is wanted, or there cannot be traces.
            ServerError: When there is no server.
        """
        code = code_here().model_copy(update={"consent": self._consent})
        await serve(self._settings, self.description.queue, code, self._endpoints, began)
