"""The channel layer of the desk: channels_redis's pub/sub layer, which also tells when its store goes away.

The layer connects again without a word, and what was sent meanwhile is gone: whoever shows books has to know at once.
What a channel is sent is kept until somebody receives it: of a channel that nobody came to have, nothing may stay.
"""

from __future__ import annotations

import uuid
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio import Redis
from redis.exceptions import RedisError


class StoreLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """A pub/sub layer on one Redis or Valkey, given by its URL."""

    def __init__(self, *, url: str, prefix: str = "asgi", **options: Any) -> None:
        super().__init__(hosts=[url], prefix=prefix, **options)
        self._url = url
        self._idle = f"{prefix}.idle"  # nobody sends to it: a server closes idle connections, but not subscribed ones

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return the name of a new channel. If the store hangs or fails, so that nobody learns it, it is forgotten."""
        layer = self._get_layer()
        channel = f"{layer.prefix}{prefix}{uuid.uuid4().hex}"
        try:
            await layer._subscribe_to_channel(channel)
        except BaseException:
            layer.channels.pop(channel, None)
            raise
        return channel

    async def forget(self, channel: str) -> None:
        """Keep no more of what a channel is sent, from this moment on; then have the store send no more to it.

        Its groups are left by `group_discard`. Forgetting twice does no harm.
        """
        layer = self._get_layer()
        if layer.channels.pop(channel, None) is not None:
            await layer._get_shard(channel).unsubscribe(channel)

    async def until_lost(self) -> None:
        """Return once the store has closed a connection of ours, or as soon as none can be had."""
        client = Redis.from_url(self._url, socket_timeout=None)
        try:
            connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.send_command("SUBSCRIBE", self._idle)
                while True:
                    await connection.read_response(timeout=None)
            finally:
                await connection.disconnect(nowait=True)
        except (RedisError, OSError):
            return
        finally:
            await client.aclose()
