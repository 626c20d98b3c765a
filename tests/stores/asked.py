"""What is asked of an object store, and what happens in between."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from metta.sweep.stores.objects import Objects


class Asked:
    """The requests of a client, in their order.

    Args:
        objects: Whose client is meant.
        before: Is called before each request, with its number among those of its kinds.
        after: Is called after each of them.
        kinds: The kinds of requests that count; all, if none is given.
    """

    def __init__(
        self,
        objects: Objects,
        before: Callable[[int], None] = lambda number: None,
        after: Callable[[int], None] = lambda number: None,
        kinds: tuple[str, ...] = (),
    ) -> None:
        self.names: list[str] = []
        self._before, self._after, self._kinds = before, after, kinds
        self._events = objects.client.meta.events
        self._events.register("before-call.s3", self._asks)
        self._events.register("after-call.s3", self._answered)

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *error: object) -> None:
        self._events.unregister("before-call.s3", self._asks)
        self._events.unregister("after-call.s3", self._answered)

    def _asks(self, model: Any, **_: Any) -> None:
        if not self._kinds or model.name in self._kinds:
            self.names.append(model.name)
            self._before(len(self.names) - 1)

    def _answered(self, model: Any, **_: Any) -> None:
        if not self._kinds or model.name in self._kinds:
            self._after(len(self.names) - 1)


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, **_: Any) -> list[bytes]:
        return [self._data]


def answers(objects: Objects, replies: Iterator[AWSResponse | None]) -> None:
    """Let these be the replies to all further requests of a client; None asks the server."""

    def handler(**_: Any) -> Any:
        return next(replies)

    objects.client.meta.events.register("before-send.s3", handler)


def answer(status: int, code: str) -> AWSResponse:
    """A server's refusal."""
    body = f"<Error><Code>{code}</Code><Message>told so</Message></Error>".encode()
    return AWSResponse("http://127.0.0.1", status, HTTPHeaders(), _Body(body))
