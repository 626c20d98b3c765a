"""The keeper: sees to it that a sweep of the embedded mode has a server and a worker."""

import asyncio
from urllib.parse import quote

from metta.sweep.client.launches import Launches
from metta.sweep.client.server import NAMESPACE, EmbeddedServer
from metta.sweep.client.settings import Settings
from metta.sweep.contracts.errors import ServerError


class Keeper:
    """Starts again what a running sweep needs and somebody killed; leaves remote clusters alone.

    Args:
        settings: Which server, and where launches are recorded.
    """

    def __init__(self, settings: Settings) -> None:
        self._embedded = settings.is_embedded
        self._server = EmbeddedServer(settings.home / "server")
        self._launches = Launches(settings.home)
        self._deaths = 0

    async def check(self, sweep_id: str) -> None:
        """Start the server and the worker of a sweep unless they live.

        Raises:
            ServerError: When the server cannot be started, or the worker dies whenever it starts.
        """
        if self._embedded:
            await asyncio.to_thread(self._server.ensure)
            await asyncio.to_thread(self._keep_worker, sweep_id)

    def page(self, sweep_id: str) -> str:
        """Address of a sweep's page in the UI of the embedded server; empty where that is not known."""
        found = self._server.find() if self._embedded else None
        return f"{found.ui}/namespaces/{NAMESPACE}/workflows/{quote(sweep_id, safe='')}" if found else ""

    def _keep_worker(self, sweep_id: str) -> None:
        failure = self._launches.failure(sweep_id)
        self._deaths = self._deaths + 1 if failure else 0
        if self._deaths > 1:  # once, somebody may have killed it
            raise ServerError(failure)
        self._launches.reopen(sweep_id)
