"""One WebSocket connection: what it subscribed to, what waits to be sent, and when it is too slow.

Source: Kalshi trade API v2, WebSocket: one sid per channel and connection, `seq` per sid over everything it sends.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from markets.sandbox import frames

# The size of the real buffer is not known. 20,000 frames are some 8 s of the busiest connection ever recorded.
BUFFER_FRAMES = 20_000
FRAMES_A_TURN = 256

COUNTING = frozenset(
    {
        "orderbook_delta",
        "trade",
        "market_lifecycle_v2",
        "multivariate_market_lifecycle",
        "order_group_updates",
        "communications",
        "cfbenchmarks_value",
        "cfbenchmarks_value_5hz",
        "pyth_value",
    }
)


class Meddler(Protocol):
    """Somebody who may change what goes out, for faults on demand."""

    def frames(self, session: Session, subscription: Subscription | None, kind: str, text: str) -> Iterable[str]:
        """Return what is sent instead of one frame: nothing, itself, itself twice, something else."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One channel on one connection; `tickers` None means every market."""

    session: Session
    sid: int
    channel: str
    tickers: set[str] | None = None
    use_yes_price: bool = False
    is_ack_short: bool = False
    seq: int = 0
    is_dead: bool = False
    counts: bool = field(init=False)

    def __post_init__(self) -> None:
        self.counts = self.channel in COUNTING

    def next_seq(self) -> int:
        """Take the next number of this sid."""
        self.seq += 1
        return self.seq

    def wants(self, ticker: str) -> bool:
        """Say whether a market's messages belong here."""
        return not self.is_dead and (self.tickers is None or ticker in self.tickers)

    def send(self, kind: str, body: str, *, command: int = 0) -> None:
        """Send one message of the channel."""
        session = self.session
        if self.is_dead or session.is_closed:
            return
        sent_ms = session.now_ms()
        if self.counts:
            self.seq += 1
            text = frames.numbered(kind, self.sid, self.seq, body=body, sent_ms=sent_ms, command=command)
        else:
            text = frames.plain(kind, self.sid, body=body, sent_ms=sent_ms)
        session.push(self, kind, text)


class Session:
    """The connection of one member; frames are queued at once and written by one task."""

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        wire: Any,
        *,
        member: str,
        subaccount: int | None,
        now_ms: Callable[[], int],
        is_signed: Callable[[], bool] = lambda: True,
        buffer_frames: int = BUFFER_FRAMES,
    ) -> None:
        self._send = send
        self.wire = wire
        self.member = member
        self.subaccount = subaccount
        self.now_ms = now_ms
        self.is_signed = is_signed  # by a key that still exists
        self.buffer_frames = buffer_frames
        self.by_channel: dict[str, Subscription] = {}
        self.meddler: Meddler | None = None
        self.is_closed = False
        self.is_held = False  # nothing goes out, pings neither
        self.is_still = False  # no data goes out, pings do
        self.is_deaf = False  # nothing that comes in is heard
        self.pause_seconds = 0.0  # between two frames
        self.heard_at = time.monotonic()
        self._last_sid = 0
        self._waiting: deque[tuple[Subscription | None, str | Callable[[Any], None]]] = deque()
        self._wake = asyncio.Event()

    def open_subscription(self, channel: str) -> Subscription:
        """Give a channel its sid."""
        self._last_sid += 1
        found = Subscription(self, self._last_sid, channel)
        self.by_channel[channel] = found
        return found

    def find(self, sid: int) -> Subscription | None:
        """Return the subscription of a sid, if it is alive."""
        return next((found for found in self.by_channel.values() if found.sid == sid), None)

    @property
    def waiting(self) -> int:
        """Return how many frames have not been written yet."""
        return len(self._waiting)

    # --- sending -----------------------------------------------------------------------------------

    def push(self, subscription: Subscription | None, kind: str, text: str) -> None:
        """Queue one frame; a sid whose buffer is full is told so and ends."""
        if self.meddler is not None:
            for changed in self.meddler.frames(self, subscription, kind, text):
                self.queue(subscription, changed)
            return
        self.queue(subscription, text)

    def act(self, action: Callable[[Any], None]) -> None:
        """Do something to the connection itself once everything queued before has been written."""
        self._waiting.append((None, action))
        self._wake.set()

    def queue(self, subscription: Subscription | None, text: str) -> None:
        """Queue one frame as it is."""
        if len(self._waiting) >= self.buffer_frames and subscription is not None:
            self.terminate(subscription, 25, "Subscription buffer overflow")
            return
        self._waiting.append((subscription, text))
        if not self._wake.is_set():
            self._wake.set()

    def terminate(self, subscription: Subscription, code: int, reason: str) -> None:
        """End a sid with an error; what was queued for it is dropped, the connection stays."""
        if subscription.is_dead:
            return
        subscription.is_dead = True
        self.by_channel.pop(subscription.channel, None)
        self._waiting = deque(waiting for waiting in self._waiting if waiting[0] is not subscription)
        text = frames.reply(
            "error",
            self.now_ms(),
            command=0,
            sid=subscription.sid,
            seq=subscription.next_seq() if subscription.counts else None,
            msg={"code": code, "msg": reason},
        )
        self._waiting.append((None, text))
        self._wake.set()

    def hear(self) -> None:
        """Note that the peer answered a ping."""
        self.heard_at = time.monotonic()

    def hold(self) -> None:
        """Keep everything back from now on, pings too: a stalled connection."""
        self.is_held = True

    def release(self) -> None:
        """Let go what was held back."""
        self.is_held = self.is_still = False
        self._wake.set()

    async def write(self) -> None:
        """Write what is queued, as fast as the transport takes it; runs until cancelled."""
        send, wire = self._send, self.wire
        while True:
            await self._wake.wait()
            self._wake.clear()
            written = 0
            while self._waiting and not self.is_held and not self.is_still:
                if wire is not None and not wire.is_writable:
                    await wire.writable()
                    continue
                frame = self._waiting.popleft()[1]
                if isinstance(frame, str):
                    await send({"type": "websocket.send", "text": frame})
                else:
                    frame(wire)
                written += 1
                if self.pause_seconds or written % FRAMES_A_TURN == 0:
                    await asyncio.sleep(self.pause_seconds)
