"""Further ways to reach one exchange, most of them broken: TLS with every kind of certificate, ways that lead nowhere.

A door is a port of this machine. Behind a sound certificate the whole exchange answers, REST and stream; the others
fail where the real network fails, before a request can have been read.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer  # type: ignore[import-untyped]

from markets.sandbox.certificates import KINDS, Authority, Papers
from markets.sandbox.server import Server, reactor

IPV4, IPV6 = "127.0.0.1", "::1"
FULL_AFTER = 16  # connections at the most until a queue of one is full
SOON_SECONDS = 0.05  # longer than any handshake on loopback

Close = Callable[[], None]


@implementer(IOpenSSLServerConnectionCreator)
class _Offer:
    """What Twisted asks for the TLS of each connection to a port."""

    def __init__(self, papers: Papers) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(papers.certificate)
        context.use_privatekey(papers.key)
        self._connect: Callable[[], Any] = lambda: SSL.Connection(context, None)

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        return self._connect()


class Doors:
    """What can be opened beside, or done to, the port of one server. Used in the reactor's thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._authority: Authority | None = None

    @property
    def authority(self) -> Authority:
        """Return who issues the certificates, made when the first is wanted."""
        if self._authority is None:
            self._authority = Authority()
        return self._authority

    def refuse(self, seconds: float) -> None:
        """Let nobody connect to the exchange's own port for a while."""
        self._server.pause(seconds)

    def open(self, kind: str) -> tuple[int, Close]:
        """Open a door of a kind; return its port and what shuts it. Raises ValueError for a kind nobody knows."""
        if kind == "stalled":
            return self._listen(reactor.listenTCP(0, Factory.forProtocol(Protocol), interface=IPV4))
        if kind == "blackhole":
            return self._blackhole()
        return self._listen(reactor.listenSSL(0, self._server.http_factory, self._tls(kind), interface=IPV4))

    def _tls(self, kind: str) -> Any:
        if kind not in KINDS:
            raise ValueError(f"a door is one of {', '.join([*KINDS, 'stalled', 'blackhole'])}")
        return _Offer(KINDS[kind](self.authority))

    def _listen(self, port: Any) -> tuple[int, Close]:
        self._server.beside.append(port)

        def close() -> None:
            if port in self._server.beside:
                self._server.beside.remove(port)
                port.stopListening()

        return int(port.getHost().port), close

    def _blackhole(self) -> tuple[int, Close]:
        """Take no connection at the exchange's port on IPv6, and refuse none: the queue is full, nobody serves it."""
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        held = [listener]
        try:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((IPV6, self._server.port))
            listener.listen(0)
            while len(held) <= FULL_AFTER and _connects(held):
                pass
        except OSError as exc:
            _close_all(held)
            raise ValueError(f"no blackhole at [{IPV6}]: {exc}") from exc
        return self._server.port, lambda: _close_all(held)


def _connects(held: list[socket.socket]) -> bool:
    """Try one more connection and keep it; say whether it came about."""
    one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    held.append(one)
    one.setblocking(False)
    with suppress(BlockingIOError):
        one.connect(held[0].getsockname())
    return bool(select.select([], [one], [], SOON_SECONDS)[1])


def _close_all(held: list[socket.socket]) -> None:
    for one in reversed(held):
        one.close()
    held.clear()
