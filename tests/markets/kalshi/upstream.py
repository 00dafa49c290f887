"""A WebSocket exchange of a few lines for the feed's tests: it answers commands, and sends what a test tells it."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from tests.wire import frames as wire

WAIT_SECONDS = 5.0


@dataclass
class Upstream:
    """What was dialled and asked, and the connection that stands."""

    handshakes: list[dict[str, str]] = field(default_factory=list)
    asked: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    refusals: list[int] = field(default_factory=list)  # HTTP statuses of the next handshakes
    answers: bool = True  # to commands
    port: int = 0
    _sockets: queue.Queue[ServerConnection] = field(default_factory=queue.Queue)
    _sids: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/trade-api/ws/v2"

    def connected(self) -> ServerConnection:
        """Wait for the next connection."""
        return self._sockets.get(timeout=WAIT_SECONDS)

    def next(self, verb: str) -> dict[str, Any]:
        """Wait for a command of this kind; others are passed over."""
        while True:
            command = self.asked.get(timeout=WAIT_SECONDS)
            params = command.get("params", {})
            if verb in (command["cmd"], params.get("action")):
                return command

    def take(self, request: Any, socket: ServerConnection) -> None:
        command = json.loads(request)
        if self.answers:
            self._answer(command, socket)
        self.asked.put(command)

    def _answer(self, command: dict[str, Any], socket: ServerConnection) -> None:
        if command["cmd"] == "subscribe":
            [channel] = command["params"]["channels"]
            sid = self._sids.setdefault(channel, len(self._sids) + 1)
            socket.send(json.dumps(wire.subscribed(channel, sid, command["id"])))
        elif command["cmd"] == "list_subscriptions":
            socket.send(json.dumps({"id": command["id"], "type": "ok", "msg": []}))

    def _converse(self, socket: ServerConnection) -> None:
        self._sids.clear()
        self._sockets.put(socket)
        try:
            for request in socket:
                self.take(request, socket)
        except ConnectionClosed:
            return


@contextmanager
def upstream_served() -> Iterator[Upstream]:
    """Serve on loopback; a channel's sid is 1 for the first asked, 2 for the second."""
    upstream = Upstream()

    def greet(socket: ServerConnection, request: Any) -> Any:
        upstream.handshakes.append(dict(request.headers.raw_items()))
        if upstream.refusals:
            return socket.respond(HTTPStatus(upstream.refusals.pop(0)), "no")
        return None

    server: Server = serve(
        upstream._converse, "127.0.0.1", 0, process_request=greet, max_size=None, compression=None, close_timeout=0.2
    )
    upstream.port = server.socket.getsockname()[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        thread.join()


class Told:
    """What the feed has told, waited for by a condition instead of a time."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, kind: type, *, count: int = 1, that: Callable[[Any], bool] = lambda event: True) -> Any:
        """Wait for the `count`-th event of a kind and return it."""

        def found() -> list[Any]:
            return [event for event in self.events if isinstance(event, kind) and that(event)]

        with self._changed:
            came = self._changed.wait_for(lambda: len(found()) >= count, timeout=WAIT_SECONDS)
            assert came, f"no {kind.__name__} in {self.events[:20]}"
            return found()[count - 1]

    def kinds(self) -> list[str]:
        """The names of what was told, in order."""
        return [type(event).__name__ for event in self.events]
