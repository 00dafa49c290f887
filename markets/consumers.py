"""The browser's socket for books: it says what it watches, and gets what the hub hands out.

It holds no channel of its own and joins no group; only the hub is a member of the layer.
"""

from __future__ import annotations

import asyncio

import msgspec
from django.conf import settings

from markets.audience import Browser
from markets.events import TICKER_MOST, Ack, BadOp, Op, Snapshot, Trades, Unwatch, Watch, is_ticker, read_op
from markets.hub import get_hub
from markets.sockets import TOO_SLOW, LiveSocket

MARKETS_PER_SOCKET = 200
BAD_TICKERS_TOLD = 20  # of one message

Watched = Watch | Unwatch | Snapshot | Trades


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
        else:
            await self._refuse_tickers(op.env, [ticker for ticker in _tickers(op) if not is_ticker(ticker)])
            if (served := _without_bad_tickers(op)) is not None:
                await self._obey(served)

    async def _refuse_tickers(self, environment: str, bad: list[str]) -> None:
        """Refuse these alone, by name, in ASCII: the page counts the bytes that it gets."""
        for ticker in bad[:BAD_TICKERS_TOLD]:
            named = {"m": ticker.encode("ascii", "replace").decode()} if len(ticker) <= TICKER_MOST else {}
            await self.refuse("BAD_TICKER", "That is not a market's ticker.", env=environment, **named)

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


def _without_bad_tickers(op: Watched) -> Watched | None:
    """Return what is left of a message to be obeyed; None where that is nothing."""
    if all(map(is_ticker, _tickers(op))):
        return op
    if isinstance(op, Snapshot | Trades):
        return None
    books, tops = list(filter(is_ticker, op.books)), list(filter(is_ticker, op.tops))
    return msgspec.structs.replace(op, books=books, tops=tops) if books or tops else None


def _tickers(op: Watched) -> list[str]:
    return [*op.books, *op.tops] if isinstance(op, Watch | Unwatch) else [op.m]
