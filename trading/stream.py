"""The private streams: what the exchange says of our orders and fills as it happens, handed to `trading.booking`.

One socket for each account with a usable key. A stream that begins, or comes back, or brings something unreadable has
missed something: the account is then compared over REST. Numbers and order of the messages do not matter, for each
says the whole state of its order and each fill has its id.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections

from markets.kalshi.errors import KalshiError
from markets.kalshi.feed import Connected, Disconnected, FillReceived, Malformed, UserOrderReceived
from markets.kalshi.messages import Channel
from markets.kalshi.rest import RestClient
from trading import booking, clients, reconcile
from trading.models import Account, ApiKey

logger = logging.getLogger(__name__)

CHANNELS: tuple[Channel, ...] = ("user_orders", "fill")
KEYS_SECONDS = 1.0
IDLE_SECONDS = 1.0
SCAN_SECONDS = 5.0
COMPARE_AGAIN_SECONDS = 5.0
STOP_SECONDS = 5.0


class PrivateStreams:
    """The private streams of one exchange; keys that come and go are noticed within two seconds."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.streams: dict[uuid.UUID, PrivateStream] = {}

    async def run(self) -> None:
        """Keep one stream for each account with a usable key, until cancelled."""
        try:
            while True:
                await self._follow_keys()
                await asyncio.sleep(KEYS_SECONDS)
        finally:
            await asyncio.to_thread(self._stop, list(self.streams))

    async def _follow_keys(self) -> None:
        try:
            wanted = await asyncio.to_thread(_keys, self.environment)
        except Exception as exc:
            # A database that is away takes no stream down: what runs goes on.
            logger.warning("the keys could not be read: %s", type(exc).__name__)
            return
        gone = [pk for pk, stream in self.streams.items() if pk not in wanted or not stream.is_alive]
        if gone:
            await asyncio.to_thread(self._stop, gone)
        for pk, key in wanted.items():
            if pk not in self.streams:
                await asyncio.to_thread(self._start, key)

    def _start(self, key: ApiKey) -> None:
        stream = PrivateStream(key)
        try:
            stream.start()
        except KalshiError as exc:
            logger.warning("no private stream for account %s: %s", key.account_id, exc)
            return
        self.streams[key.pk] = stream

    def _stop(self, gone: list[uuid.UUID]) -> None:
        for pk in gone:
            self.streams.pop(pk).stop()


def _keys(environment: str) -> dict[uuid.UUID, ApiKey]:
    """Return the newest usable key of each account."""
    close_old_connections()
    keys = ApiKey.objects.select_related("account__team").filter(environment=environment, state=ApiKey.State.ACTIVE)
    newest = {key.account_id: key for key in keys.order_by("added_at", "pk")}
    return {key.pk: key for key in newest.values()}


class PrivateStream:
    """One account's stream: the socket's thread fills a queue, a thread of ours writes what comes out of it."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.account = key.account
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"private stream {key.account_id}", daemon=True)
        self.is_connected = False
        self._compare_at: float | None = None
        self._scan_at = 0.0

    @property
    def is_alive(self) -> bool:
        """Say whether what it hears is still written down."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Connect, and write down what comes. Raises CannotUse for a key that cannot be opened."""
        self._feed = clients.feed_client(self.key, on_event=self._events.put, channels=CHANNELS)
        self._feed.start()
        self._thread.start()

    def stop(self) -> None:
        """Disconnect and write down what came until then."""
        self._feed.stop()
        self._is_stopping.set()
        self._events.put(None)  # wakes the thread
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not (self._is_stopping.is_set() and self._events.empty()):
            try:
                self._turn()
            except Exception:
                # What was not written down now is found by the comparison.
                logger.exception("private stream of account %s: a message was not written down", self.key.account_id)
                self._compare_at = time.monotonic() + COMPARE_AGAIN_SECONDS
        close_old_connections()

    def _turn(self) -> None:
        """Take one event, or see what is due."""
        try:
            event = self._events.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            event = None
        close_old_connections()
        if event is not None:
            self.take(event)
        now = time.monotonic()
        if self._compare_at is not None and now >= self._compare_at:
            self._compare_at = now + COMPARE_AGAIN_SECONDS
            if self._ask(reconcile.compare):
                self._compare_at = None
        if now >= self._scan_at:
            self._scan_at = now + SCAN_SECONDS
            if reconcile.has_unknown(self.account):
                self._ask(reconcile.resolve)

    def take(self, event: Any) -> None:
        """Write down one event of the feed."""
        if isinstance(event, UserOrderReceived):
            booking.hear(self.account, event.message)
        elif isinstance(event, FillReceived):
            booking.book(self.account, event.message)
        elif isinstance(event, Connected | Malformed):
            self._compare_at = time.monotonic()
            self.is_connected = True
        elif isinstance(event, Disconnected):
            self.is_connected = False

    def _ask(self, question: Callable[[Account, RestClient], None]) -> bool:
        """Ask the exchange over REST; False where it did not answer."""
        self.account.refresh_from_db(fields=["reconciled_at"])  # the worker compares too
        try:
            with self._client() as client:
                question(self.account, client)
        except KalshiError as exc:
            logger.warning("account %s: the exchange did not answer, %s", self.key.account_id, type(exc).__name__)
            return False
        return True

    def _client(self) -> RestClient:
        return clients.rest_client(self.key, purpose="read")
