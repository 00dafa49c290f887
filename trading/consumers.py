"""The browser's socket for its team: orders and fills, numbered without holes, within 100 ms of their commit.

One member of the channel layer for each web process hears which team has news, reads it once from the database and
hands the same text to all of the team's sockets. The layer may lose the news: each second the desk looks for itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import msgspec
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model

from markets.lines import Line, supervise
from markets.sockets import LOGGED_OUT, TOO_SLOW, LiveSocket
from trading import events, permissions, sessions
from trading.events import BeatFrame, Frame
from trading.models import DESK_GROUP, Membership
from trading.permissions import Permission

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
NO_TEAM = 4403
WAITING_MOST = 2_000  # texts for one browser that does not take them


class After(msgspec.Struct, forbid_unknown_fields=True):
    """What a browser may say: tell me everything after this number."""

    op: Literal["after"]
    n: int


_decoder = msgspec.json.Decoder(After)


def encode(frames: Sequence[Frame]) -> str:
    """Return frames as the one text that a browser gets."""
    return msgspec.json.encode(frames).decode()


class DeskConsumer(LiveSocket):
    """One page of one team."""

    channel_layer_alias = "none"  # not configured on purpose: AsyncConsumer then takes no channel
    team_id: uuid.UUID | None = None
    role = ""

    async def opened(self) -> None:
        """Join the desk of one's team; without a team there is nothing to hear."""
        membership = await self._membership()
        if membership is None:
            await self.close(NO_TEAM)
            return
        self._waiting: asyncio.Queue[str] = asyncio.Queue(WAITING_MOST)
        self._writer = asyncio.create_task(self._write())
        self.team_id, self.role = membership.team_id, membership.role
        await get_desk().join(self)

    async def gone(self) -> None:
        """Leave the desk."""
        if self.team_id is not None:
            get_desk().leave(self)
            self._writer.cancel()

    async def heard(self, text: str) -> None:
        """Answer the one thing that a page may ask."""
        if self.team_id is None:
            return
        try:
            after = _decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            await self.refuse("BAD_MESSAGE", 'This socket takes {"op": "after", "n": N}.')
            return
        if not await self.is_still_welcome():
            await self.close(LOGGED_OUT)
            return
        frames = await database_sync_to_async(events.frames_after)(self.team_id, after.n)
        if frames:
            self.put(encode(frames))

    async def is_still_welcome(self) -> bool:
        """Say whether the person is still in the team, in the same role: a page of another role is loaded anew."""
        if self.team_id is None:
            return True
        membership = await self._membership()
        return membership is not None and membership.team_id == self.team_id and membership.role == self.role

    def put(self, text: str) -> None:
        """Have a text sent without waiting for this browser; one that takes nothing for long is let go."""
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            self._closing = asyncio.create_task(self.close(TOO_SLOW))

    async def _write(self) -> None:
        while True:
            text = await self._waiting.get()
            await self.base_send({"type": "websocket.send", "text": text})

    async def _membership(self) -> Membership | None:
        assert self.log_in is not None  # noqa: S101  (the base class calls between connect and disconnect)
        session = self.scope.get("session") or {}
        chosen = str(self.team_id) if self.team_id else session.get(sessions.TEAM)
        found: Membership | None = await database_sync_to_async(_standing_membership)(self.log_in.user_id, chosen)
        return found


def _standing_membership(user_id: Any, chosen_team: str | None) -> Membership | None:
    user: Any = get_user_model()._default_manager.filter(pk=user_id).first()
    if user is None:
        return None
    user.chosen_team = chosen_team
    membership = permissions.current_membership(user)
    if membership is None or sessions.lacks_second_factor(user, membership.team):
        return None
    return membership if permissions.may(membership, Permission.SEE_ORDERS) else None


class Desk:
    """The sockets of one process by team, and the number up to which each team has been told."""

    def __init__(self, layer: Any) -> None:
        self.sockets: dict[uuid.UUID, set[DeskConsumer]] = {}
        self.told: dict[uuid.UUID, int] = {}
        self.line = Line(layer, "desk", self._receive, group=DESK_GROUP)
        self._stirred = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to beat, on the running loop."""
        works = {"the desk's line": self.line.run, "the desk's news": self._tell_forever, "the desk's beat": self._beat}
        self._tasks = [asyncio.create_task(supervise(name, work)) for name, work in works.items()]

    async def stop(self) -> None:
        """End its tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def join(self, socket: DeskConsumer) -> None:
        """Take in a socket; it is told at once how far its team's numbers have come."""
        assert socket.team_id is not None  # noqa: S101
        team_id = socket.team_id
        if team_id not in self.told:
            number = (await database_sync_to_async(events.numbers)([team_id]))[team_id]
            self.told.setdefault(team_id, number)
        self.sockets.setdefault(team_id, set()).add(socket)
        socket.put(encode([_beat_frame(self.told[team_id])]))

    def leave(self, socket: DeskConsumer) -> None:
        """Let a socket go."""
        assert socket.team_id is not None  # noqa: S101
        sockets = self.sockets.get(socket.team_id, set())
        sockets.discard(socket)
        if not sockets:
            self.sockets.pop(socket.team_id, None)
            self.told.pop(socket.team_id, None)

    async def tell(self) -> None:
        """Read what is new of the teams with open sockets, once for all of them, and hand it on."""
        numbers = await database_sync_to_async(events.numbers)(list(self.sockets))
        for team_id, number in numbers.items():
            told = self.told.get(team_id, number)
            if number <= told:
                continue
            frames = await database_sync_to_async(events.frames_after)(team_id, told)
            self.told[team_id] = frames[-1]["n"]
            self._put(team_id, encode(frames))

    def _put(self, team_id: uuid.UUID, text: str) -> None:
        for socket in list(self.sockets.get(team_id, ())):
            socket.put(text)

    def _receive(self, message: dict[str, Any]) -> None:
        if uuid.UUID(message["team"]) in self.sockets:
            self._stirred.set()

    async def _tell_forever(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            await self.tell()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._stirred.set()  # whatever the layer lost is found now
            for team_id, number in list(self.told.items()):
                self._put(team_id, encode([_beat_frame(number)]))


def _beat_frame(number: int) -> BeatFrame:
    return {"t": "beat", "n": number, "at": time.time_ns() // 1_000_000}


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()


def get_desk() -> Desk:
    """Return the desk of the running loop, started if it is the first time."""
    loop = asyncio.get_running_loop()
    if loop not in _desks:
        _desks[loop] = Desk(get_channel_layer())
        _desks[loop].start()
    return _desks[loop]


async def stop_desk() -> None:
    """End the desk of the running loop, if there is one."""
    if desk := _desks.pop(asyncio.get_running_loop(), None):
        await desk.stop()
