"""What every browser socket has in common: who may open one, for how long, and how much it may say.

Close codes: 4401 the log-in has ended, 4008 the browser fell too far behind, 4029 too much said or too many sockets.
Origins are checked before a socket gets here (`kalshiweb.asgi`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from markets import sessions
from markets.events import encode
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


class LiveSocket(AsyncWebsocketConsumer):  # type: ignore[misc]
    """A socket of somebody who is logged in. Subclasses implement `opened`, `heard` and `gone`."""

    _open_by_user: ClassVar[Counter[Any]] = Counter()

    log_in: LogIn | None = None

    async def connect(self) -> None:
        """Accept an active user with a session; refuse the handshake of anybody else."""
        user = self.scope.get("user")
        session_key = getattr(self.scope.get("session"), "session_key", None)
        if user is None or not user.is_authenticated or not user.is_active or not session_key:
            await self.close()
            return
        await self.accept()
        if self._open_by_user[user.pk] >= SOCKETS_PER_USER:
            await self.close(TOO_MUCH)
            return
        self._allowance, self._counted_at = float(BURST), time.monotonic()
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
        doorkeeper().sockets.discard(self)
        self._open_by_user[log_in.user_id] -= 1
        if not self._open_by_user[log_in.user_id]:
            del self._open_by_user[log_in.user_id]
        await self.gone()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pass on one text message, if it is neither too long nor one too many."""
        if self.log_in is None:
            return
        if not self._may_speak():
            await self.close(TOO_MUCH)
        elif text_data is None:
            await self.refuse("BAD_MESSAGE", "This socket takes text messages only.")
        elif len(text_data) > MESSAGE_BYTES:
            await self.refuse("TOO_LONG", f"A message may have {MESSAGE_BYTES} bytes.")
        else:
            await self.heard(text_data)

    async def refuse(self, code: str, text: str, **more: str) -> None:
        """Tell the browser why something was not done."""
        await self.send(text_data=f"[{encode({'t': 'error', 'code': code, 'text': text, **more})}]")

    async def opened(self) -> None:
        """Begin: the socket is accepted."""

    async def heard(self, text: str) -> None:
        """Answer one message."""

    async def gone(self) -> None:
        """End: the socket is closed. Called once for each `opened`."""

    async def is_still_welcome(self) -> bool:
        """Say whether a standing log-in may keep this socket; asked every few seconds."""
        return True

    def _may_speak(self) -> bool:
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * RATE) - 1
        self._counted_at = now
        return self._allowance >= 0


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
        for socket, log_in in sockets.items():
            if socket.log_in is not log_in:
                continue  # gone while others were asked about
            if log_in in ended or not await socket.is_still_welcome():
                await socket.close(LOGGED_OUT)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self.recheck()
            except Exception:
                # A database that is away ends nobody's view of public books; it is asked again.
                logger.exception("open sockets could not be checked")


_doorkeepers: WeakKeyDictionary[asyncio.AbstractEventLoop, Doorkeeper] = WeakKeyDictionary()


def doorkeeper() -> Doorkeeper:
    """Return the doorkeeper of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _doorkeepers:
        _doorkeepers[loop] = Doorkeeper()
    return _doorkeepers[loop]
