"""A browser's WebSocket as cheap as Python can make it, so that a thousand fit into one load generator.

It reads text frames of any size, answers pings, and passes on each text with the time at which its piece came in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NO_MASK = bytes(4)  # a mask of zeros is a mask: what is sent stays as it is

Hear = Callable[[bytes, int], None]


class SocketClient(asyncio.Protocol):
    """One connection; `opened` is done when the server has taken it, or fails when it has not."""

    def __init__(self, request: bytes, hear: Hear) -> None:
        self._request = request
        self._hear = hear
        self._held = b""
        self._is_upgraded = False
        self.is_closed = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP connection
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.is_closed = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Take what came in."""
        now = time.monotonic_ns()
        held = self._held + data if self._held else data
        at = 0
        if not self._is_upgraded:
            head, separator, held = held.partition(b"\r\n\r\n")
            if not separator:
                self._held = head
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0] + b" ":
                self.transport.close()
                return
            self._is_upgraded = True
            self.opened.set_result(None)
        self._held = held[self._frames(held, at, now) :]

    def send(self, text: bytes) -> None:
        """Send one text frame of less than 64 KiB."""
        self._write(TEXT, text)

    def _write(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.transport.write(bytes((0x80 | kind,)) + length + NO_MASK + payload)

    def _frames(self, held: bytes, at: int, now: int) -> int:
        """Pass on every whole frame; return where the first unfinished one begins."""
        end = len(held)
        while end - at >= 2:
            size, start = held[at + 1] & 0x7F, at + 2
            if size == 126:
                size, start = int.from_bytes(held[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(held[at + 2 : at + 10], "big"), at + 10
            if end < start + size:
                break
            kind = held[at] & 0x0F
            if kind == TEXT:
                self._hear(held[start : start + size], now)
            elif kind == PING:
                self._write(PONG, held[start : start + size])
            elif kind == CLOSE:
                self.transport.close()
            at = start + size
        return at
