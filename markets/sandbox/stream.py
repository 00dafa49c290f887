"""The WebSocket endpoint: a signed handshake, then frames out and commands in until one side has enough.

Source: Kalshi trade API v2: the handshake is refused with 401 before the upgrade, pings with the payload `heartbeat`
come about every 10 s. The body of that 401 and what a missing pong means are not known: 401 bodies are those of REST
here, and a connection that answers no ping for 30 s ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from markets.sandbox.errors import answer_of
from markets.sandbox.faults import Gone
from markets.sandbox.refusals import Refusal
from markets.sandbox.sessions import Session
from markets.sandbox.subscriptions import Commands
from markets.sandbox.venue import Venue
from markets.sandbox.web import Answer
from markets.sandbox.wire import EXTENSION

PATH = "/trade-api/ws/v2"
PING_SECONDS = 10.0
PONG_SECONDS = 30.0
HEARTBEAT = b"heartbeat"
REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    429: "Too Many Requests",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
CONNECTIONS_A_MEMBER = 200

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Stream:
    """Serves the sockets of one venue."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection to its end."""
        await receive()  # websocket.connect
        wire = scope.get("extensions", {}).get(EXTENSION)
        try:
            session = await self._open(scope, send, wire)
        except Refusal as refusal:
            await self._refuse(answer_of(refusal), wire, send)
            return
        except Gone:
            return
        if session is not None:
            await self._run(session, receive)

    async def _open(self, scope: dict[str, Any], send: Send, wire: Any) -> Session | None:
        venue = self.venue
        path = scope.get("raw_path", scope["path"].encode()).decode()
        refused = venue.faults.for_handshake(path, wire)
        if refused is not None:
            await self._refuse(refused, wire, send)
            return None
        if path != PATH:
            raise Refusal(404, "not_found")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        key = venue.signatures.verify(headers, "GET", path, venue.signature_now_ms())
        if sum(1 for held in venue.audience.sessions if held.member == key.member) >= CONNECTIONS_A_MEMBER:
            raise Refusal(429, "too_many_requests")
        venue.truth.record("connect", venue.now_ms(), member=venue.exchange.members[key.member].name, key_id=key.key_id)
        await send({"type": "websocket.accept"})
        session = Session(
            send,
            wire,
            member=key.member,
            subaccount=key.subaccount,
            now_ms=venue.now_ms,
            is_signed=lambda: key.key_id in venue.signatures.keys,
        )
        session.meddler = venue.faults.meddler()
        return session

    async def _refuse(self, answer: Answer, wire: Any, send: Send) -> None:
        self.venue.truth.record("refused_connect", self.venue.now_ms(), status=answer.status)
        if wire is None:
            await send({"type": "websocket.close"})
            return
        pairs = [*answer.header_pairs(), (b"connection", b"close")]
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Refused')}".encode()]
        lines += [name + b": " + value for name, value in pairs]
        wire.refuse_handshake(b"\r\n".join(lines) + b"\r\n\r\n", answer.body)

    async def _run(self, session: Session, receive: Receive) -> None:
        audience, wire = self.venue.audience, session.wire
        audience.sessions.add(session)
        if wire is not None:
            wire.watch()
            wire.on_pong(session.hear)
        tasks = [asyncio.create_task(session.write()), asyncio.create_task(self._ping(session))]
        try:
            await self._listen(session, receive)
        finally:
            audience.forget(session)
            for task in tasks:
                task.cancel()
            if wire is not None:
                wire.unwatch()
            self.venue.truth.record("disconnect", self.venue.now_ms(), member=session.member)

    async def _listen(self, session: Session, receive: Receive) -> None:
        commands = Commands(session, self.venue.audience, self.venue)
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] == "websocket.receive" and not session.is_deaf:
                commands.receive(message.get("text") or "")

    async def _ping(self, session: Session) -> None:
        wire = session.wire
        while wire is not None:
            await asyncio.sleep(PING_SECONDS)
            if session.is_held:
                continue
            if time.monotonic() - session.heard_at > PING_SECONDS + PONG_SECONDS:
                wire.close()
                return
            wire.ping(HEARTBEAT)
