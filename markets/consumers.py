"""The browser's socket for books: it says what it watches, and gets what the hub hands out.

It holds no channel of its own and joins no group; only the hub is a member of the layer.
"""

from __future__ import annotations

import asyncio
import re

from django.conf import settings

from markets.audience import Browser
from markets.events import Ack, BadOp, Op, Snapshot, Trades, Unwatch, Watch, read_op
from markets.hub import get_hub
from markets.sockets import TOO_SLOW, LiveSocket

MARKETS_PER_SOCKET = 200
_TICKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}", re.ASCII)


class BookConsumer(LiveSocket):
    """One page's books and tops."""

    channel_layer_alias = "none"  # not configured on purpose: AsyncConsumer then takes no channel

    async def opened(self) -> None:
        """Join the hub."""
        self._browser = Browser(self.outbox, self._fell_behind)
        self._hub = get_hub()
        self._hub.join(self._browser)

    async def gone(self) -> None:
        """Leave the hub."""
        self._hub.leave(self._browser)

    async def heard(self, text: str) -> None:
        """Answer one message of the page."""
        try:
            op = read_op(text)
        except BadOp as exc:
            await self.refuse("BAD_MESSAGE", str(exc))
            return
        if isinstance(op, Ack):
            self._hub.ack(self._browser, op.bytes)
        elif op.env not in settings.EXCHANGES:
            await self.refuse("UNKNOWN_ENVIRONMENT", "There is no such environment.")
        elif any(not _TICKER.fullmatch(ticker) for ticker in _tickers(op)):
            await self.refuse("BAD_TICKER", "That is not a market's ticker.")
        else:
            await self._obey(op)

    async def _obey(self, op: Op) -> None:
        hub, browser = self._hub, self._browser
        if isinstance(op, Watch):
            if self._would_hold(op) > MARKETS_PER_SOCKET:
                await self.refuse("TOO_MANY", f"One page may watch {MARKETS_PER_SOCKET} markets.", env=op.env)
                return
            hub.watch(browser, op.env, op.books, op.tops)
        elif isinstance(op, Unwatch):
            hub.unwatch(browser, op.env, op.books, op.tops)
        elif isinstance(op, Snapshot):
            if not hub.snapshot(browser, op.env, op.m):
                await self.refuse("NOT_WATCHED", "Watch this market first.", env=op.env, m=op.m)
        elif isinstance(op, Trades) and not hub.trades(browser, op.env, op.m, op.after):
            await self.refuse("NOT_WATCHED", "Watch this market first.", env=op.env, m=op.m)

    def _would_hold(self, op: Watch) -> int:
        books = {(op.env, ticker) for ticker in op.books} | self._browser.books
        tops = {(op.env, ticker) for ticker in op.tops} | self._browser.tops
        return max(len(books), len(tops))

    def _fell_behind(self) -> None:
        self._closing = asyncio.create_task(self.close(TOO_SLOW))


def _tickers(op: Watch | Unwatch | Snapshot | Trades) -> list[str]:
    return [*op.books, *op.tops] if isinstance(op, Watch | Unwatch) else [op.m]
