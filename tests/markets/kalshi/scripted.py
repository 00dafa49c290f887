"""An exchange that follows a script: one step per request, over plain sockets so that it can misbehave at any byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Heard:
    """A request as it arrived, and on which connection."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Step:
    """What to send back: bytes, and then to close, to keep quiet, or to go on."""

    raw: bytes = b""
    then: str = "go on"


def answer(status: int, body: Any = None, **headers: str) -> Step:
    encoded = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(encoded)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Step("\r\n".join([*lines, "", ""]).encode() + encoded)


DROP = Step(then="close")
HANG = Step(then="hang")
TRUNCATED = Step(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"order_id":"o-1"', then="close")


@dataclass
class Scripted:
    """The script, what was heard, and where it listens."""

    steps: list[Step] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/trade-api/v2"


@contextmanager
def scripted_exchange(*steps: Step) -> Iterator[Scripted]:
    """Serve the steps on loopback, one per request."""
    script = Scripted(list(steps))
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    script.port = listener.getsockname()[1]
    threads: list[threading.Thread] = []
    socks: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                socks.append(sock)
                script.connections += 1
                thread = threading.Thread(target=_serve, args=(sock, script, script.connections, stop))
                thread.start()
                threads.append(thread)

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield script
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for sock in socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def _serve(sock: socket.socket, script: Scripted, connection: int, stop: threading.Event) -> None:
    try:
        _converse(sock, script, connection, stop)
    finally:
        sock.close()
        script.closed.release()


def _converse(sock: socket.socket, script: Scripted, connection: int, stop: threading.Event) -> None:
    with suppress(OSError), sock.makefile("rb") as reader:
        while (request := _read(reader, connection)) is not None:
            script.heard.append(request)
            step = script.steps.pop(0)
            sock.sendall(step.raw)
            if step.then == "hang":
                stop.wait(20)
            if step.then != "go on":
                return


def _read(reader: Any, connection: int) -> Heard | None:
    line = reader.readline().decode()
    if not line:
        return None
    method, target, _ = line.split(" ")
    headers = {}
    while (header := reader.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.strip()] = value.strip()
    body = reader.read(int(headers.get("Content-Length", "0")))
    return Heard(method, target, headers, body, connection)
