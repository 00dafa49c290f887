"""When the exchange is asked again for what is in doubt: a market's whole book, or what the market is.

Pure: time is handed in, in ms. Distances are kept on a clock that never jumps.
"""

from __future__ import annotations

from collections.abc import Iterable

REPAIR_FIRST_MS = 250
REPAIR_MOST_MS = 10_000
CALM_MS = 30_000
DESCRIBED_AT_ONCE = 500
READING_LAG_MS = 2_000  # so far may the exchange's reading side be behind its stream


class Repair:
    """When to ask for one market's snapshot (again): at once, then at growing distances."""

    __slots__ = ("asked", "asked_at", "next_at")

    def __init__(self, next_at: int) -> None:
        self.asked = 0
        self.asked_at: int | None = None
        self.next_at: int | None = next_at

    def want(self, now: int, delay: int) -> None:
        """Want a snapshot after `delay` ms, unless that is too soon after the last one."""
        if self.asked_at is None or now - self.asked_at > CALM_MS:
            self.asked = 0
            self.next_at = now + delay
        else:
            self.next_at = max(now + delay, self.asked_at + self._distance())

    def settle(self) -> None:
        """Want nothing now; how often was asked lately is remembered."""
        self.next_at = None

    def note_asked(self, now: int) -> None:
        """Count one question."""
        self.asked += 1
        self.asked_at = now
        self.next_at = now + max(self._distance(), 1_000)

    def _distance(self) -> int:
        return min(REPAIR_MOST_MS, REPAIR_FIRST_MS << min(self.asked, 10))


class Descriptions:
    """Which markets may have changed without our having heard of it, and when the exchange is asked about them."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}  # the wall's time from which on an answer settles it
        self._repairs: dict[str, Repair] = {}
        self._told_at: dict[str, int] = {}

    def __contains__(self, ticker: str) -> bool:
        """Say whether a market's description may be out of date."""
        return ticker in self._since

    def want(self, tickers: Iterable[str], *, now: int, wall: int) -> None:
        """Want these described as they are from now on."""
        for ticker in tickers:
            self._since[ticker] = wall
            self._repairs.setdefault(ticker, Repair(now)).want(now, 0)

    def note_told(self, ticker: str, *, wall: int) -> None:
        """Note that the stream has just told of a market."""
        self._told_at[ticker] = wall

    def forget(self, ticker: str) -> None:
        """Drop a market that nobody follows any more."""
        for known in (self._since, self._repairs, self._told_at):
            known.pop(ticker, None)

    @property
    def next_at(self) -> int | None:
        """When to ask next; None if nothing is in doubt."""
        return min((self._due_at(ticker) for ticker in self._since), default=None)

    def due(self, now: int) -> list[str]:
        """Return the markets to ask about now, and count them as asked."""
        due = [ticker for ticker in self._since if self._due_at(ticker) <= now][:DESCRIBED_AT_ONCE]
        for ticker in due:
            self._repairs[ticker].note_asked(now)
        return due

    def is_behind(self, ticker: str, known_ms: int) -> bool:
        """Say whether what was known at that time may lack what the stream has told since."""
        told_at = self._told_at.get(ticker)
        return told_at is not None and known_ms - READING_LAG_MS < told_at

    def settle(self, ticker: str, known_ms: int) -> None:
        """Note that a market is described as it was at that time; a doubt that is younger stays."""
        since = self._since.get(ticker)
        if since is not None and known_ms - READING_LAG_MS >= since:
            del self._since[ticker]
            self._repairs[ticker].settle()

    def _due_at(self, ticker: str) -> int:
        return self._repairs[ticker].next_at or 0
