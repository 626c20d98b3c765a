"""The health of a worker over HTTP: whether it can do its work, and whether it lives at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import TimeoutError as Late
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from metta.sweep.client.identities import version_here
from metta.sweep.telemetry.endpoints import HEALTH, Address, in_use

PATHS = ("/healthz", "/livez")

SERVER_S = 2.0
"""So long the server may take to answer."""

LOOP_S = 5.0
"""A worker whose loop does not get to a question by then hangs."""


class Health:
    """Answers ``GET /healthz`` and ``GET /livez``; from the beginning, so that a busy address is noticed.

    Args:
        address: Where it listens.
        queue: The queue that is served.
        name: What said the address, for the error.

    Raises:
        DefinitionError: When nothing can listen there.
    """

    def __init__(self, address: Address, queue: str, name: str = HEALTH) -> None:
        self._queue = queue
        self._since = datetime.now(UTC)
        try:
            self._server = _server(address, self)
        except OSError as error:
            raise in_use(name, address, error.strerror or error) from error

    @asynccontextmanager
    async def of(self, client: Client, workers: Sequence[Worker]) -> AsyncIterator[None]:
        """Within it those are answered who ask after these workers."""
        self._client, self._workers = client, workers
        self._loop = asyncio.get_running_loop()
        Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._server.shutdown)
            self.close()

    def close(self) -> None:
        """Listen no more."""
        self._server.server_close()

    def answer(self, path: str) -> tuple[HTTPStatus, dict[str, Any]]:
        """Status and body for a path."""
        try:
            asked = self._reason() if path == "/healthz" else asyncio.sleep(0, "")
            future = asyncio.run_coroutine_threadsafe(asked, self._loop)
            reason = future.result(LOOP_S)
        except Late:
            reason = f"its event loop has not come round for {LOOP_S:g} s"
        told: dict[str, Any] = {
            "status": "unavailable" if reason else "ok",
            "version": version_here(),
            "queue": self._queue,
            "since": self._since.isoformat(timespec="seconds"),
        }
        if path == "/healthz":
            told["connected"] = not reason
        if reason:
            told["reason"] = reason
        return HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK, told

    async def _reason(self) -> str:
        """Why the worker cannot do its work; empty when it can."""
        if not all(worker.is_running for worker in self._workers):
            return "the worker is ending, and takes no more work"
        try:
            limit = timedelta(seconds=SERVER_S)
            is_well = await self._client.service_client.check_health(timeout=limit)
        except RPCError as error:
            address = self._client.service_client.config.target_host
            return f"the Temporal server at {address} does not answer: {error}"
        return "" if is_well else "the Temporal server says that it is not serving"


def _server(address: Address, health: Health) -> TCPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path not in PATHS:
                self.send_error(HTTPStatus.NOT_FOUND, explain=f"there is {' and '.join(PATHS)}")
                return
            status, told = health.answer(path)
            body = json.dumps(told).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass  # a line for each probe would be all that the log holds

    family, number = address.resolved()

    class Server(ThreadingMixIn, TCPServer):  # not HTTPServer, which asks for the name of this machine
        address_family = family
        allow_reuse_address = True
        daemon_threads = True

    return Server(number, Handler)
