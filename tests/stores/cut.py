"""A connection that is cut at a chosen moment: after a request was carried out, and before its reply."""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread

INTERIM = b"HTTP/1.1 100"


class Cut:
    """Passes everything on to a server on this machine, but for the replies that are to be lost.

    Args:
        port: The server's port.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_lost: Callable[[bytes], bool] = lambda request: False
        self._lock = Lock()
        self._keep = 0
        self.lost = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def lose(self, beginning: bytes, times: int, keep: int = 0) -> None:
        """Lose the replies to so many requests whose first line begins so, but for their first bytes."""
        left, self._keep = times, keep

        def is_lost(request: bytes) -> bool:
            nonlocal left
            with self._lock:
                if not left or not request.startswith(beginning):
                    return False
                left -= 1
                self.lost += 1
                return True

        self._is_lost = is_lost

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # one request after the other, as boto3 makes them: what is read from the client is the request
        # until the server answers something final
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._server)) as server:
            losing = [False]
            back = Thread(target=self._back, args=(server, client, losing), daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                losing[0] = losing[0] or self._is_lost(data)
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            back.join()

    def _back(self, server: socket.socket, client: socket.socket, losing: list[bool]) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if losing[0] and not data.startswith(INTERIM):
                    client.sendall(data[: self._keep])
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
