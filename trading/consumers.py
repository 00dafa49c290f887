"""The browser's socket for its team: orders and fills, numbered without holes, within 100 ms of their commit.

One member of the channel layer for each web process hears which team has news, reads it once from the database and
hands the same text to all of the team's sockets. The layer may lose the news: each second the desk looks for itself.

A page acknowledges the bytes that have arrived. One that is too far behind is closed; it comes back and asks by number.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

import msgspec
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model

from markets.events import Ack
from markets.lines import Line, supervise
from markets.sockets import LOGGED_OUT, TOO_SLOW, Allowance, LiveSocket
from trading import events, permissions, sessions
from trading.events import BeatFrame, Frame, PulseFrame
from trading.models import DESK_GROUP, Membership
from trading.permissions import Permission

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
NO_TEAM = 4403  # or not in the page's
ASKS_AT_ONCE = 10  # whoever was away asks page by page
ASKS_PER_SECOND = 2
_ANY = ("desk", "")  # where the outbox wants a market: nothing of the desk's is left out, its browser is closed instead


class After(msgspec.Struct, tag_field="op", tag="after", forbid_unknown_fields=True, frozen=True):
    """What a browser asks: tell me what comes after this number."""

    n: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


DeskOp = After | Ack
_decoder = msgspec.json.Decoder(DeskOp)


def encode(frames: Sequence[Frame | PulseFrame]) -> str:
    """Return frames as they stand in a browser's array; in ASCII, so that its characters are the bytes it counts."""
    return ",".join(json.dumps(frame, separators=(",", ":")) for frame in frames)


@dataclass(frozen=True, slots=True)
class Seat:
    """As whom a socket hears its team."""

    user_id: Any
    team_id: uuid.UUID
    role: str


class DeskConsumer(LiveSocket):
    """One page of one team; a page names its team and role, and is turned away once they are another's."""

    channel_layer_alias = "none"  # not configured on purpose: AsyncConsumer then takes no channel
    seat: Seat | None = None

    async def opened(self) -> None:
        """Join the desk of one's team; without a team there is nothing to hear."""
        assert self.log_in is not None  # noqa: S101  (the base class calls between connect and disconnect)
        user_id, chosen = self.log_in.user_id, (self.scope.get("session") or {}).get(sessions.TEAM)
        membership = await database_sync_to_async(_membership)(user_id, chosen)
        if membership is None or not _is_of(membership, self.scope["query_string"]):
            await self.close(NO_TEAM)
            return
        self._asks = Allowance(ASKS_AT_ONCE, ASKS_PER_SECOND)
        self.seat = Seat(user_id, membership.team_id, membership.role)
        await get_desk().join(self, self.seat.team_id)

    async def gone(self) -> None:
        """Leave the desk."""
        if self.seat is not None:
            get_desk().leave(self, self.seat.team_id)

    async def heard(self, text: str) -> None:
        """Answer the one thing that a page may ask, and note what has arrived."""
        if self.seat is None:
            return
        try:
            op = _decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            await self.refuse("BAD_MESSAGE", 'This socket takes {"op": "after", "n": N} and {"op": "ack", "bytes": N}.')
            return
        if isinstance(op, Ack):
            self.outbox.ack(op.bytes)
        elif self._asks.take():
            await self._tell_after(op.n, self.seat)
        else:
            await self.refuse("TOO_OFTEN", "Ask again in a second.")

    async def _tell_after(self, number: int, seat: Seat) -> None:
        if await self.unwelcome([self]):
            await self.close(LOGGED_OUT)
            return
        if frames := await database_sync_to_async(events.frames_after)(seat.team_id, number):
            self.put(encode(frames))

    @classmethod
    async def unwelcome(cls, sockets: Sequence[LiveSocket]) -> Iterable[LiveSocket]:
        """Return those whose person has left the team or its role: a page of another role is loaded anew."""
        seats = {socket: socket.seat for socket in sockets if isinstance(socket, cls) and socket.seat is not None}
        kept = await database_sync_to_async(kept_seats)(set(seats.values())) if seats else set()
        return [socket for socket, seat in seats.items() if seat not in kept]

    def put(self, encoded: str) -> None:
        """Have frames sent without waiting for this browser; one that has acknowledged too little is let go."""
        if self.is_closing or self.outbox.is_closed:
            return
        if self.outbox.put(_ANY, encoded, is_whole=True, now=time.monotonic_ns() // 1_000_000):
            self.outbox.flush()
            return
        self.outbox.close()
        self._closing = asyncio.create_task(self.close(TOO_SLOW))


def _is_of(membership: Membership, query: bytes) -> bool:
    """Say whether what a page says of itself, if anything, is the session's team and the person's role there.

    A page stays open when its session goes on in another team, and comes back by itself.
    """
    said = parse_qs(query.decode("ascii", "replace"))
    seat = {"team": str(membership.team_id), "role": membership.role}
    return all(said.get(name, [own]) == [own] for name, own in seat.items())


def _membership(user_id: Any, chosen_team: str | None) -> Membership | None:
    """Return the membership in which a person's session hears of orders, or None. Blocks on the database."""
    user: Any = get_user_model()._default_manager.filter(pk=user_id).first()
    if user is None:
        return None
    user.chosen_team = chosen_team
    membership = permissions.current_membership(user)
    return membership if membership is not None and _may_hear([membership]) else None


def kept_seats(seats: Collection[Seat]) -> set[Seat]:
    """Return those that are still theirs. Blocks on the database: three queries at most, whatever their number."""
    theirs = {"user_id__in": {seat.user_id for seat in seats}, "team_id__in": {seat.team_id for seat in seats}}
    standing = Membership.objects.select_related("team").filter(**theirs, is_active=True, user__is_active=True)
    held = {Seat(found.user_id, found.team_id, found.role): found for found in standing}
    return {
        Seat(found.user_id, found.team_id, found.role) for found in _may_hear([held[s] for s in seats if s in held])
    }


def _may_hear(memberships: Collection[Membership]) -> list[Membership]:
    lacking = sessions.lacking_second_factor({(found.user_id, found.team_id) for found in memberships})
    return [
        found
        for found in memberships
        if permissions.may(found, Permission.SEE_ORDERS) and (found.user_id, found.team_id) not in lacking
    ]


class Desk:
    """The sockets of one process by team, and the number up to which each team has been told."""

    def __init__(self, layer: Any) -> None:
        self.sockets: dict[uuid.UUID, set[DeskConsumer]] = {}
        self.told: dict[uuid.UUID, int] = {}
        self.current: set[uuid.UUID] = set()  # the teams that the database was asked about since the last beat
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

    async def join(self, socket: DeskConsumer, team_id: uuid.UUID) -> None:
        """Take in a socket; it is told at once how far its team's numbers have come."""
        if team_id not in self.told:
            number = (await database_sync_to_async(events.numbers)([team_id]))[team_id]
            self.told.setdefault(team_id, number)
        self.sockets.setdefault(team_id, set()).add(socket)
        socket.put(encode([_beat_frame(self.told[team_id])]))

    def leave(self, socket: DeskConsumer, team_id: uuid.UUID) -> None:
        """Let a socket go."""
        sockets = self.sockets.get(team_id, set())
        sockets.discard(socket)
        if not sockets:
            self.sockets.pop(team_id, None)
            self.told.pop(team_id, None)

    async def tell(self) -> None:
        """Read what is new of the teams with open sockets, once for all of them, and hand it on."""
        numbers = await database_sync_to_async(events.numbers)(list(self.sockets))
        for team_id, number in numbers.items():
            try:
                await self._tell_team(team_id, number)
            except Exception:
                # A row that cannot be told is its own team's trouble: that one's beats stop, the others' news goes on.
                logger.exception("a team's news could not be told")
            else:
                self.current.add(team_id)

    async def _tell_team(self, team_id: uuid.UUID, number: int) -> None:
        while (told := self.told.get(team_id, number)) < number:
            frames = await database_sync_to_async(events.frames_after)(team_id, told)
            if self.told.get(team_id) != told:
                return  # everybody has left meanwhile; who came after that was told another number
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
            for team_id, number in list(self.told.items()):
                # Where the database does not answer, nothing is current; but a page that hears nothing dials again.
                self._put(team_id, encode([_beat_frame(number) if team_id in self.current else _PULSE]))
            self.current.clear()
            self._stirred.set()  # whatever the layer lost is found now


_PULSE: PulseFrame = {"t": "pulse"}


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
