"""The published way to tell many browsers: the consumer of the Channels tutorial, one channel and one group each."""

from __future__ import annotations

from typing import Any, ClassVar

from channels.generic.websocket import AsyncJsonWebsocketConsumer

GROUP = "book"


class NaiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Joins the group and passes on each change as JSON of its own."""

    open: ClassVar[int] = 0
    delivered: ClassVar[int] = 0

    async def connect(self) -> None:
        """Join."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()
        NaiveConsumer.open += 1

    async def disconnect(self, code: int) -> None:
        """Leave."""
        NaiveConsumer.open -= 1
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def book_delta(self, event: dict[str, Any]) -> None:
        """Pass on one change."""
        await self.send_json(event["delta"])
        NaiveConsumer.delivered += 1
