"""Keeps the tops of the watched markets written: what changed a few times a second, everything once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from markets.intake import Intake
from markets.livebook import LiveBook, Moment
from markets.tops import Top

logger = logging.getLogger(__name__)

ALL_AGAIN_MS = 1_000
_TRUSTED = frozenset({"LIVE", "POLLED", "PAUSED"})


class TopBoard:
    """What was written last, and until when each top was known to be right."""

    def __init__(self, write: Callable[[dict[str, Top]], None] | None) -> None:
        self._write = write
        self._right_at: dict[str, int] = {}
        self._written: dict[str, Top] = {}
        self._all_at = -ALL_AGAIN_MS

    def due(self, intake: Intake, now: Moment) -> dict[str, Top]:
        """Return the tops to write now: those that changed, and once a second all, for their age is news too."""
        tops = {live.ticker: self._top(live, intake, now) for live in intake.books.values()}
        self._right_at = {ticker: top.as_of_ms for ticker, top in tops.items()}
        if now.mono - self._all_at >= ALL_AGAIN_MS:
            self._all_at = now.mono
            due = tops
        else:
            due = {ticker: top for ticker, top in tops.items() if _differ(top, self._written.get(ticker))}
        self._written = tops
        return due

    async def write(self, intake: Intake, now: Moment) -> None:
        """Write what is due, off this loop; a store that is away is tried again."""
        due = self.due(intake, now)
        if not due or self._write is None:
            return
        try:
            await asyncio.to_thread(self._write, due)
        except Exception as exc:
            self._written = {}
            logger.warning("tops could not be written: %s", type(exc).__name__)

    def _top(self, live: LiveBook, intake: Intake, now: Moment) -> Top:
        frame = live.top(now, intake.upstream)
        right_at = self._right_at.get(live.ticker, 0)
        if frame["state"] in _TRUSTED:
            # A polled book is as old as its last reading; a stream would have told every change.
            age = now.mono - live.heard_at if frame["state"] == "POLLED" and live.heard_at is not None else 0
            right_at = now.wall - age
        return Top(
            frame["bid"],
            frame["bid_size"],
            frame["ask"],
            frame["ask_size"],
            frame["last"],
            frame["state"],
            right_at,
        )


def _differ(top: Top, before: Top | None) -> bool:
    if before is None:
        return True
    return (top.bid, top.bid_size, top.ask, top.ask_size, top.last, top.state) != (
        before.bid,
        before.bid_size,
        before.ask,
        before.ask_size,
        before.last,
        before.state,
    )
