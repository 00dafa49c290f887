"""The exchange's end of the socket for the ingest bench, in a process of its own: it answers subscriptions, then plays
prepared frames as fast as they are taken, or at a rate.

Frames are put on the wire in blocks of many, so that what is measured is the reader and not this sender.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from kalshiweb.bench.children import Answer, cpu, obey
from kalshiweb.bench.frames import stream

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BLOCK_FRAMES = 500
PACE_SECONDS = 0.005


class Player:
    """Serves one connection at a time."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._peer: socket.socket | None = None
        self._subscribed: set[str] = set()
        self._heard = threading.Condition()
        self._frames: list[bytes] = []
        self._books: dict[str, Any] = {}
        threading.Thread(target=self._accept_forever, daemon=True).start()

    # --- what the bench asks ---------------------------------------------------------------------

    def prepare(self, *, most: int, markets: int | None = None) -> Answer:
        """Read or make the frames; answer with what a reader must have in the end."""
        made = stream(most, markets=markets)
        self._frames = [_framed(frame) for frame in made.yes_scale]
        self._books = made.books
        return {
            "source": made.source,
            "url": f"ws://127.0.0.1:{self.port}/trade-api/ws/v2",
            "frames": len(made.yes_scale),
            "tickers": made.tickers,
            "last_seq": made.last_seq,
            "bytes": sum(map(len, self._frames)),
        }

    def books(self) -> Answer:
        """Return the books at the end, as sorted levels."""
        return {ticker: _levels(sides) for ticker, sides in self._books.items()}

    def play(
        self, *, markets: int, first: int = 0, last: int | None = None, rate: int | None = None, seconds: float = 30.0
    ) -> Answer:
        """Wait until so many markets are subscribed, then play frames `first` to `last`; answer when they are sent."""
        with self._heard:
            if not self._heard.wait_for(lambda: self._peer is not None and len(self._subscribed) >= markets, seconds):
                raise TimeoutError(f"{len(self._subscribed)} of {markets} markets were subscribed")
            peer = self._peer
        assert peer is not None  # noqa: S101 - waited for
        frames, began, busy = self._frames[first:last], time.monotonic(), time.process_time()
        if rate is None:
            for block in _blocks(frames, BLOCK_FRAMES):
                peer.sendall(block)
        else:
            _send_paced(peer, frames, rate)
        return {"began": began, "ended": time.monotonic(), "cpu": time.process_time() - busy, "frames": len(frames)}

    # --- the socket ------------------------------------------------------------------------------

    def _accept_forever(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer, peer.makefile("rb") as incoming:
                peer.sendall(_accepted(_request(incoming)))
                self._subscribed = set()
                with self._heard:
                    self._peer = peer
                while (command := _read(incoming)) is not None:
                    self._obey(peer, json.loads(command))
        except (OSError, ValueError):
            return  # the reader has gone
        finally:
            if self._peer is peer:
                self._peer = None

    def _obey(self, peer: socket.socket, command: dict[str, Any]) -> None:
        params = command.get("params", {})
        if command["cmd"] == "subscribe":
            channel = params["channels"][0]
            sid = 1 if channel == "orderbook_delta" else 2
            answer = {"type": "subscribed", "id": command["id"], "msg": {"channel": channel, "sid": sid}}
        else:
            channel = "orderbook_delta" if params.get("sid") == 1 else "trade"
            answer = {"type": "ok", "id": command["id"]}
        peer.sendall(_framed(json.dumps(answer).encode()))
        if channel == "orderbook_delta" and params.get("action") in (None, "add_markets"):
            with self._heard:
                self._subscribed.update(params.get("market_tickers", ()))
                self._heard.notify_all()


def _send_paced(peer: socket.socket, frames: Sequence[bytes], rate: int) -> None:
    began, sent = time.monotonic(), 0
    while sent < len(frames):
        due = min(len(frames), int((time.monotonic() - began) * rate))
        if due > sent:
            peer.sendall(b"".join(frames[sent:due]))
            sent = due
        time.sleep(PACE_SECONDS)


def _blocks(frames: Sequence[bytes], size: int) -> list[bytes]:
    return [b"".join(frames[start : start + size]) for start in range(0, len(frames), size)]


def _levels(sides: dict[str, dict[int, int]]) -> dict[str, list[list[int]]]:
    return {name: [[price, size] for price, size in sorted(side.items())] for name, side in sides.items()}


def _request(incoming: Any) -> bytes:
    key = b""
    while (line := incoming.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = value.strip()
    return key


def _accepted(key: bytes) -> bytes:
    token = base64.b64encode(hashlib.sha1(key + MAGIC).digest())  # noqa: S324 - RFC 6455 wants it
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return bytes((0x81, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x81, 127)) + size.to_bytes(8, "big") + payload


def _read(incoming: Any) -> bytes | None:
    """Return the next text a client sends, None at its end. Short frames of commands only, pongs passed over."""
    while True:
        head = incoming.read(2)
        if len(head) < 2 or head[0] & 0x0F == 8:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(incoming.read(2 if size == 126 else 8), "big")
        mask, masked = incoming.read(4), incoming.read(size)
        if head[0] & 0x0F == 1:
            return bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))


if __name__ == "__main__":
    player = Player()
    obey({"prepare": player.prepare, "books": player.books, "play": player.play, "cpu": cpu})
