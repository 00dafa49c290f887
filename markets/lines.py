"""A channel of one's own on the channel layer, which notices when it has gone deaf and joins again.

The layer may lose what it carries, and Redis or Valkey may come back empty: the line sends itself an echo each second,
and without any message for three it leaves its channel and takes a new one. A store that dies is noticed at once, even
if it is back before anybody missed a message: from then on the line is up again only when it hears itself again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.exceptions import ChannelFull
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

ECHO_SECONDS = 1.0
FIRST_ECHO_SECONDS = 0.2  # while the line does not know whether it is up
DEAF_SECONDS = 3.0
SEND_SECONDS = 2.0
RETRY_SECONDS = 0.5

LAYER_ERRORS = (RedisError, OSError, ChannelFull, TimeoutError)


class Line:
    """One member of the layer. `receive` is called on the event loop with each message and must not block.

    `lost`, likewise, is called when the layer's store has gone away, with whatever it carried.
    """

    def __init__(
        self,
        layer: Any,
        prefix: str,
        receive: Callable[[dict[str, Any]], None],
        *,
        group: str | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._layer = layer
        self._prefix = prefix
        self._group = group
        self._receive = receive
        self._lost = lost
        self._losses = 0
        self._echoed_at: float | None = None
        self.channel: str | None = None
        self.joined = asyncio.Event()
        self.lost_sends = 0

    @property
    def is_up(self) -> bool:
        """Say whether we heard ourselves lately."""
        return self._echoed_at is not None and time.monotonic() - self._echoed_at < DEAF_SECONDS

    async def run(self) -> None:
        """Stay joined until cancelled."""
        watch = asyncio.create_task(supervise("the watch over the layer's store", self._watch))
        try:
            while True:
                try:
                    await self._join_and_listen()
                except LAYER_ERRORS as exc:
                    logger.warning("channel layer: %s, joining again", type(exc).__name__)
                self.joined.clear()
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            watch.cancel()

    async def send(self, channel: str, message: dict[str, Any]) -> bool:
        """Send to one channel; False if it could not be handed over, True is no promise."""
        return await self._try(self._layer.send(channel, message))

    async def send_group(self, group: str, message: dict[str, Any]) -> bool:
        """Send to a group; False if it could not be handed over, True is no promise."""
        return await self._try(self._layer.group_send(group, message))

    async def _try(self, sending: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await sending
        except LAYER_ERRORS:
            self.lost_sends += 1
            return False
        return True

    async def _join_and_listen(self) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            channel = await self._layer.new_channel(self._prefix)
        try:
            if self._group is not None:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._layer.group_add(self._group, channel)
            await self._listen(channel)
        finally:
            await self._leave(channel)

    async def _listen(self, channel: str) -> None:
        self.channel = channel
        self.joined.set()
        echo = asyncio.create_task(self._echo(channel))
        try:
            while True:
                async with asyncio.timeout(DEAF_SECONDS):
                    message = await self._layer.receive(channel)
                self._take(message)
        finally:
            echo.cancel()

    async def _leave(self, channel: str) -> None:
        """Leave nothing that keeps messages, even if the store hangs; one in memory has nothing to forget."""
        with contextlib.suppress(*LAYER_ERRORS):
            async with asyncio.timeout(SEND_SECONDS):
                if self._group is not None:
                    await self._layer.group_discard(self._group, channel)
        if (forget := getattr(self._layer, "forget", None)) is not None:
            with contextlib.suppress(*LAYER_ERRORS):
                async with asyncio.timeout(SEND_SECONDS):
                    await forget(channel)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "line.echo":
            # One that was under way when the store died proves nothing.
            if message["losses"] == self._losses:
                self._echoed_at = time.monotonic()
            return
        try:
            self._receive(message)
        except Exception:
            # One bad message must not end the line: what it carried is found missing by its number.
            logger.exception("a message from the channel layer was not understood")

    async def _echo(self, channel: str) -> None:
        while True:
            await self.send(channel, {"type": "line.echo", "losses": self._losses})
            await asyncio.sleep(ECHO_SECONDS if self.is_up else FIRST_ECHO_SECONDS)

    async def _watch(self) -> None:
        """Tell of every death of the store; a layer in memory has none."""
        until_lost = getattr(self._layer, "until_lost", None)
        if until_lost is None:
            await asyncio.Event().wait()
            return
        while True:
            await until_lost()
            self._losses += 1
            self._echoed_at = None
            self._lost()
            await asyncio.sleep(RETRY_SECONDS)


async def supervise(name: str, run: Callable[[], Awaitable[None]], *, retry_seconds: float = RETRY_SECONDS) -> None:
    """Run something that ought never to end, again whenever it does."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("%s died, starting it again", name)
        await asyncio.sleep(retry_seconds)
