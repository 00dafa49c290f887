"""The connection under an ASGI call, for what ASGI has no words for: backpressure, pings, and rude ends.

The server puts it into the scope as extension `kalshiweb.wire`. Source: Twisted's transports under Daphne.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer  # type: ignore[import-untyped]

EXTENSION = "kalshiweb.wire"


@implementer(IPushProducer)
class Wire:
    """One TCP connection and the protocol that runs on it."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._answers: list[Callable[[bytes], None]] = []

    # --- backpressure: Daphne itself never waits for a slow reader ---------------------------------

    def watch(self) -> None:
        """Learn from the transport when its buffer is full and when it has room again."""
        # After an upgrade the HTTP channel that read the request still stands there; it would stop reading instead.
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, True)

    def unwatch(self) -> None:
        """Stop learning; a transport that waits for us would never close."""
        self._writable.set()
        self._transport.unregisterProducer()

    @property
    def is_writable(self) -> bool:
        """Say whether the transport's buffer has room."""
        return self._writable.is_set()

    async def writable(self) -> None:
        """Wait until the transport's buffer has room."""
        await self._writable.wait()

    def pauseProducing(self) -> None:
        """Hear from the transport that its buffer is full."""
        self._writable.clear()

    def resumeProducing(self) -> None:
        """Hear from the transport that its buffer has room."""
        self._writable.set()

    def stopProducing(self) -> None:
        """Hear from the transport that it is gone."""
        self._writable.set()

    # --- WebSocket control -------------------------------------------------------------------------

    def ping(self, payload: bytes) -> None:
        """Send a ping frame."""
        self._protocol.sendPing(payload)

    def on_pong(self, heard: Callable[[], None]) -> None:
        """Call back at every pong."""
        self._protocol.onPong = lambda payload: heard()

    def send_frame(self, opcode: int, payload: bytes, *, final: bool = True) -> None:
        """Send one raw WebSocket frame, however wrong it is."""
        self._protocol.sendFrame(opcode=opcode, payload=payload, fin=final)

    def refuse_handshake(self, head: bytes, body: bytes) -> None:
        """Answer the upgrade with plain HTTP and close."""
        self._transport.write(head + body)
        self._transport.loseConnection()

    # --- rude ends ---------------------------------------------------------------------------------

    def write(self, raw: bytes) -> None:
        """Put bytes on the wire past every protocol."""
        self._transport.write(raw)

    def close(self) -> None:
        """Close after what is buffered, without a word of any protocol."""
        self._transport.loseConnection()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        handle: socket.socket | None = self._transport.getHandle()
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abortConnection()

    def stop_reading(self) -> None:
        """Hear nothing any more, pings included; the peer sees an open connection and silence."""
        self._transport.pauseProducing()
