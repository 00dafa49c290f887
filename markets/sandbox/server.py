"""The local exchange on the network: a plain ASGI application under Daphne, in a process or on a thread beside tests.

One event loop carries requests, sockets, makers and tapes; the engine's calls are quick, so nothing waits for a lock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

# Daphne first: it installs the reactor that everything else of Twisted then uses.
from daphne.server import Server as DaphneServer

# isort: split
from daphne.http_protocol import HTTPFactory
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import defer
from twisted.internet import reactor as the_reactor
from twisted.internet.error import CannotListenError
from twisted.internet.threads import blockingCallFromThread
from twisted.logger import globalLogBeginner

from markets.sandbox.wire import EXTENSION, Wire

reactor: Any = the_reactor
Application = Callable[..., Awaitable[None]]
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
NEVER = 10**9


class PortTaken(Exception):
    """Another program listens on the wanted port."""


class Server(DaphneServer):  # type: ignore[misc]
    """Daphne, told to hand out the connection under each call and to leave pings to the application."""

    def __init__(self, application: Application) -> None:
        super().__init__(
            application,
            endpoints=["not used: ports are opened one by one"],
            websocket_timeout=NEVER,
            ping_interval=NEVER,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
            websocket_max_frame_size=MAX_MESSAGE_BYTES,
            server_name="",
        )
        self._port: Any = None
        self.beside: list[Any] = []  # further ports that lead here or nowhere
        self.is_open = False

    def open(self, port: int, interface: str = "127.0.0.1") -> int:
        """Listen, and return the port; 0 takes a free one. Raises PortTaken. Called in the reactor's thread."""
        self.connections: dict[Any, Any] = {}
        self.http_factory = HTTPFactory(self)
        self.ws_factory = WebSocketFactory(self, server="")
        self.ws_factory.setProtocolOptions(
            allowNullOrigin=True,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=1,
            maxMessagePayloadSize=MAX_MESSAGE_BYTES,
            maxFramePayloadSize=MAX_MESSAGE_BYTES,
        )
        self._listen(port, interface)
        self.is_open = True
        self.application_checker()
        self.timeout_checker()
        return self.port

    @property
    def port(self) -> int:
        """Port on which it listens, or did before a pause."""
        return int(self._port.getHost().port)

    def _listen(self, port: int, interface: str) -> None:
        try:
            self._port = reactor.listenTCP(port, self.http_factory, interface=interface)
        except CannotListenError as exc:
            raise PortTaken(f"Port {port} is in use by another program.") from exc

    def pause(self, seconds: float) -> None:
        """Refuse every new connection for a while."""
        where = self._port.getHost()
        self._port.stopListening()
        reactor.callLater(seconds, self._listen_again, where.port, where.host)

    def _listen_again(self, port: int, interface: str) -> None:
        if self.is_open:
            self._listen(port, interface)

    def close(self) -> defer.Deferred[Any]:
        """Stop listening and end every call."""
        self.is_open = False
        for protocol in list(self.connections):
            transport = getattr(protocol, "transport", None)
            if transport is not None:
                _bottom(transport).abortConnection()
        ports, self.beside = [self._port, *self.beside], []
        ended = [defer.maybeDeferred(port.stopListening) for port in ports]
        return defer.gatherResults([self.kill_all_applications(), *ended])

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Begin one call, with the connection under it in the scope."""
        scope["extensions"] = {EXTENSION: Wire(protocol)}
        return super().create_application(protocol, scope)

    def kill_all_applications(self) -> defer.Deferred[Any]:
        """Cancel every call; a connection that never became one has none."""
        running = [details.get("application_instance") for details in self.connections.values()]
        waiting = [task for task in running if task is not None and not task.done()]
        for task in waiting:
            task.cancel()
        done = defer.Deferred.fromFuture(asyncio.ensure_future(_settle(waiting)))
        return done.addErrback(lambda failure: None)

    def application_checker(self) -> None:
        """Reap ended calls once a second while the port is open."""
        if self.is_open:
            super().application_checker()

    def timeout_checker(self) -> None:
        """Check time limits while the port is open."""
        if self.is_open:
            super().timeout_checker()


def _bottom(transport: Any) -> Any:
    """Return the TCP connection under HTTP and TLS: TLS that has ended already cannot be aborted."""
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    return transport


async def _settle(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def run(
    make: Callable[[], tuple[Application, Callable[[], None]]], port: int, *, ready: Callable[[Server, int], None]
) -> None:
    """Serve until SIGTERM or SIGINT; blocks.

    `make` is called inside the running loop and returns the application and what to do at the end; `ready` gets the
    server and its port.
    Raises PortTaken.
    """
    failed: list[Exception] = []

    def begin() -> None:
        try:
            application, at_end = make()
            server = Server(application)
            reactor.addSystemEventTrigger("before", "shutdown", lambda: server.is_open and server.close())
            reactor.addSystemEventTrigger("during", "shutdown", at_end)
            ready(server, server.open(port))
        except Exception as exc:  # Twisted would log it and go on without a port
            failed.append(exc)
            reactor.stop()

    _quiet()
    asyncio.set_event_loop(reactor._asyncioEventloop)
    reactor.callLater(0, begin)  # not callWhenRunning: the asyncio loop does not run yet then
    reactor.run()
    if failed:
        raise failed[0]


class Threaded:
    """Servers on one background thread, for tests and benchmarks: opening one takes a millisecond."""

    _thread: threading.Thread | None = None

    @classmethod
    def call(cls, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in the reactor's thread and return its result."""
        if cls._thread is None:
            cls._start()
        return blockingCallFromThread(reactor, function, *arguments)

    @classmethod
    def _start(cls) -> None:
        running = threading.Event()
        _quiet()
        reactor.callWhenRunning(running.set)
        cls._thread = threading.Thread(target=_run_in_thread, name="local exchange", daemon=True)
        cls._thread.start()
        running.wait()


def _run_in_thread() -> None:
    asyncio.set_event_loop(reactor._asyncioEventloop)
    reactor.run(installSignalHandlers=False)


def _quiet() -> None:
    nowhere: Any = [lambda event: None]
    globalLogBeginner.beginLoggingTo(nowhere, redirectStandardIO=False, discardBuffer=True)
