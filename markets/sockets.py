"""What every browser socket has in common: who may open one, for how long, and how much it may say.

Close codes: 4401 there is no log-in or it has ended, 4008 the browser fell too far behind, 4029 too much said or too
many sockets. Origins are checked before a socket gets here (`kalshiweb.asgi`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from markets import sessions
from markets.events import encode
from markets.outbox import Outbox
from markets.sessions import LogIn

logger = logging.getLogger(__name__)

LOGGED_OUT = 4401
TOO_SLOW = 4008
TOO_MUCH = 4029

MESSAGE_BYTES = 64 * 1024
BURST = 60  # messages at once, and
RATE = 20  # messages a second after that
SOCKETS_PER_USER = 50  # in one process
RECHECK_SECONDS = 3.0  # what ends a log-in closes its sockets within five


class Allowance:
    """How often something may be done: so much at once, and so much a second after that."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self._left, self._counted_at = burst, time.monotonic()

    def take(self) -> bool:
        """Use one up; return False where none is left."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._counted_at) * self._rate)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class LiveSocket(AsyncWebsocketConsumer):  # type: ignore[misc]
    """A socket of somebody who is logged in. Subclasses implement `opened`, `heard` and `gone`.

    Everything that is said goes through `outbox`, which knows how much of it has arrived.
    """

    _open_by_user: ClassVar[Counter[Any]] = Counter()

    log_in: LogIn | None = None
    is_closing = False
    outbox: Outbox

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Take what the server says of the socket.

        Channels goes to a thread before each message, to close stale connections of the database. Most words of a page
        ask no database, and with a thousand pages that speak each second the threads held up the frames; what does
        ask goes through `database_sync_to_async`, which looks by itself.
        """
        if message["type"] == "websocket.receive":
            await self.websocket_receive(message)
        else:
            await super().dispatch(message)

    async def connect(self) -> None:
        """Accept an active user with a session, and anybody else only to be told that there is no log-in.

        Of a refused handshake a browser shows its page no more than of a lost network, and the page would dial forever.
        """
        user = self.scope.get("user")
        session_key = getattr(self.scope.get("session"), "session_key", None)
        await self.accept()
        if user is None or not user.is_authenticated or not user.is_active or not session_key:
            await self.close(LOGGED_OUT)
            return
        if self._open_by_user[user.pk] >= SOCKETS_PER_USER:
            await self.close(TOO_MUCH)
            return
        self._allowance = Allowance(BURST, RATE)
        # What the session's middleware looks up at each message matters to answers over HTTP alone, and is a sixth of
        # what a frame costs.
        session = getattr(self.base_send, "__self__", None)
        self._send_past_session: Any = getattr(session, "real_send", self.base_send)
        self.outbox = Outbox(self._send_text)
        self.log_in = LogIn(session_key, user.pk)
        self._open_by_user[user.pk] += 1
        doorkeeper().sockets.add(self)
        await self.opened()

    async def __call__(self, *args: Any) -> None:
        """Serve the socket to its end, and forget it however that came: after an error nobody says `disconnect`."""
        try:
            await super().__call__(*args)
        finally:
            await self._forget()

    async def disconnect(self, code: int) -> None:
        """Forget the socket."""
        await self._forget()

    async def _forget(self) -> None:
        if self.log_in is None:
            return
        log_in, self.log_in = self.log_in, None
        self.outbox.close()
        doorkeeper().sockets.discard(self)
        self._open_by_user[log_in.user_id] -= 1
        if not self._open_by_user[log_in.user_id]:
            del self._open_by_user[log_in.user_id]
        await self.gone()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pass on one text message, if it is neither too long nor one too many."""
        if self.log_in is None or self.is_closing:
            return
        if not self._allowance.take():
            await self.close(TOO_MUCH)
        elif text_data is None:
            await self.refuse("BAD_MESSAGE", "This socket takes text messages only.")
        elif len(text_data) > MESSAGE_BYTES:
            await self.refuse("TOO_LONG", f"A message may have {MESSAGE_BYTES} bytes.")
        else:
            await self.heard(text_data)

    async def refuse(self, code: str, text: str, **more: str) -> None:
        """Tell the browser why something was not done."""
        self.outbox.put_word(encode({"t": "error", "code": code, "text": text, **more}))
        self.outbox.flush()

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close, once; what a browser says after that is not heard, however long it takes to go."""
        if not self.is_closing:
            self.is_closing = True
            await super().close(code, reason)

    async def opened(self) -> None:
        """Begin: the socket is accepted."""

    async def heard(self, text: str) -> None:
        """Answer one message."""

    async def gone(self) -> None:
        """End: the socket is closed. Called once for each `opened`."""

    @classmethod
    async def unwelcome(cls, sockets: Sequence[Self]) -> Iterable[LiveSocket]:
        """Return those of standing log-ins that may not keep their sockets: asked every few seconds, of all at once."""
        return ()

    def _send_text(self, text: str) -> Coroutine[Any, Any, None]:
        sending: Coroutine[Any, Any, None] = self._send_past_session({"type": "websocket.send", "text": text})
        return sending


class Doorkeeper:
    """Asks every few seconds whether those inside are still welcome; one per event loop."""

    def __init__(self) -> None:
        self.sockets: set[LiveSocket] = set()
        self._task = asyncio.create_task(self._run())

    async def recheck(self) -> None:
        """Close the sockets whose log-in has ended or that are no longer welcome."""
        sockets = {socket: socket.log_in for socket in self.sockets if socket.log_in is not None}
        if not sockets:
            return
        ended = await database_sync_to_async(sessions.ended)(sockets.values())
        await _close_all(socket for socket, log_in in sockets.items() if log_in in ended and socket.log_in is log_in)
        kinds: defaultdict[type[LiveSocket], list[LiveSocket]] = defaultdict(list)
        for socket, log_in in sockets.items():
            if log_in not in ended:
                kinds[type(socket)].append(socket)
        for kind, theirs in kinds.items():
            await _close_all(socket for socket in await kind.unwelcome(theirs) if socket.log_in is sockets[socket])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self.recheck()
            except Exception:
                # A database that is away ends nobody's view of public books; it is asked again.
                logger.exception("open sockets could not be checked")


async def _close_all(sockets: Iterable[LiveSocket]) -> None:
    """Close them; one that cannot be told any more is gone already, and is no reason to spare the others."""
    await asyncio.gather(*(socket.close(LOGGED_OUT) for socket in sockets), return_exceptions=True)


_doorkeepers: WeakKeyDictionary[asyncio.AbstractEventLoop, Doorkeeper] = WeakKeyDictionary()


def doorkeeper() -> Doorkeeper:
    """Return the doorkeeper of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _doorkeepers:
        _doorkeepers[loop] = Doorkeeper()
    return _doorkeepers[loop]
