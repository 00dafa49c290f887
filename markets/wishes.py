"""Which markets the hubs want, and until when: a wish is a lease, so a hub that dies wants nothing soon after.

Pure: time is handed in, in ms on a clock that never jumps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from markets.pace import USUAL_MS

LEASE_MS = 15_000
LINGER_MS = 30_000  # a market nobody wants is kept this long: people come back


@dataclass(slots=True)
class Wish:
    """What one hub's browsers watch."""

    books: frozenset[str] = frozenset()
    tops: frozenset[str] = frozenset()
    until: int = 0
    pace_ms: int = USUAL_MS

    def wants(self, kind: str, ticker: str) -> bool:
        """Say whether a frame of this kind and market is for this hub."""
        return ticker in (self.tops if kind == "top" else self.books)


@dataclass(slots=True)
class Wishes:
    """The wishes of all hubs, and since when each kept market is wanted by nobody."""

    hubs: dict[str, Wish] = field(default_factory=dict)
    _idle_since: dict[str, int] = field(default_factory=dict)

    def renew(
        self, hub: str, books: Iterable[str], tops: Iterable[str], now: int, *, pace_ms: int = USUAL_MS
    ) -> frozenset[str]:
        """Take a hub's full wish; return the markets it did not have before."""
        old = self.hubs.get(hub, Wish())
        new = Wish(frozenset(books), frozenset(tops), now + LEASE_MS, pace_ms)
        self.hubs[hub] = new
        return (new.books | new.tops) - (old.books | old.tops)

    def forget(self, hub: str) -> None:
        """Drop a hub that cannot be reached."""
        self.hubs.pop(hub, None)

    def expire(self, now: int) -> None:
        """Drop the hubs whose lease has run out."""
        for hub in [hub for hub, wish in self.hubs.items() if wish.until <= now]:
            del self.hubs[hub]

    @property
    def pace_ms(self) -> int:
        """The pace of the slowest hub."""
        return max((wish.pace_ms for wish in self.hubs.values()), default=USUAL_MS)

    def wanted(self) -> frozenset[str]:
        """Return every market that somebody wants."""
        return frozenset().union(*(wish.books | wish.tops for wish in self.hubs.values()))

    def let_go(self, kept: Iterable[str], now: int) -> list[str]:
        """Return those of the kept markets that nobody has wanted for a while."""
        wanted = self.wanted()
        idle = {ticker for ticker in kept if ticker not in wanted}
        self._idle_since = {ticker: self._idle_since.get(ticker, now) for ticker in idle}
        return sorted(ticker for ticker, since in self._idle_since.items() if now - since >= LINGER_MS)
