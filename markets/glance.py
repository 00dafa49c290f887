"""One look at a market's book for somebody who keeps no socket open: the hub's own frames, once.

It joins the hub of the running loop like a browser does, waits for what it wants and leaves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from markets.audience import Browser
from markets.events import is_ticker
from markets.hub import NO_TRADES, Hub
from markets.outbox import Outbox

PATIENCE_SECONDS = 2.0

Frame = dict[str, Any]


class NothingSeen(Exception):
    """No book came in time; the text says why, for a person."""


class Glance:
    """A viewer of one market who looks at its frames only. Use as a context manager, on the hub's loop.

    Raises NothingSeen for what is no market's ticker.
    """

    def __init__(self, hub: Hub, environment: str, ticker: str, *, patience_seconds: float | None = None) -> None:
        if not is_ticker(ticker):
            raise NothingSeen("That is not a market's ticker.")
        self._hub = hub
        self._market = (environment, ticker)
        self._patience_seconds = PATIENCE_SECONDS if patience_seconds is None else patience_seconds
        self._browser = Browser(Outbox(self._take), lambda: None)
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()

    def __enter__(self) -> Glance:
        """Begin to watch."""
        environment, ticker = self._market
        self._hub.join(self._browser)
        self._hub.watch(self._browser, environment, [ticker], ())
        return self

    def __exit__(self, *exc: object) -> None:
        """Watch no longer."""
        self._hub.leave(self._browser)

    async def book(self) -> Frame:
        """Return the market's whole book. Raises NothingSeen."""
        return await self._first(lambda frame: frame["t"] == "book")

    async def trades(self) -> list[Frame]:
        """Return the trades that the relay remembers, oldest first. Raises NothingSeen."""
        wanted = (await self.book())["k"]
        if not wanted:
            return []
        self._hub.trades(self._browser, *self._market, 0)
        found: dict[int, Frame] = {}
        while wanted not in found:
            frame = await self._first(lambda frame: frame["t"] == "trade" or frame.get("code") == NO_TRADES)
            if frame["t"] == "error":
                break
            found[frame["k"]] = frame
        return [found[number] for number in sorted(found)]

    async def _first(self, is_wanted: Callable[[Frame], bool]) -> Frame:
        try:
            async with asyncio.timeout(self._patience_seconds):
                while True:
                    frame = await self._frames.get()
                    if is_wanted(frame):
                        return frame
                    if frame["t"] == "error":
                        raise NothingSeen(frame["text"])
        except TimeoutError:
            raise NothingSeen("The feed has not shown this book in time: try again.") from None

    async def _take(self, text: str) -> None:
        for frame in json.loads(text):
            self._frames.put_nowait(frame)
