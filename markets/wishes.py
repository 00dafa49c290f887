"""Which markets the hubs want, and until when: a wish is a lease, so a hub that dies wants nothing soon after.

What the desk itself wants stands beside them: it is watched and kept like the rest, and sent to nobody.

Pure: time is handed in, in ms on a clock that never jumps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from markets.pace import USUAL_MS

LEASE_MS = 15_000
LINGER_MS = 30_000  # a market nobody wants is kept this long: people come back
TOPS_AGAIN_MS = 4_000  # tops have no numbers: one that was lost is repaired by telling all of them again


@dataclass(slots=True)
class Wish:
    """What one hub's browsers watch."""

    books: frozenset[str] = frozenset()
    tops: frozenset[str] = frozenset()
    until: int = 0
    pace_ms: int = USUAL_MS
    tops_told: frozenset[str] = frozenset()
    tops_told_at: int | None = None  # all of them

    def wants(self, kind: str, ticker: str) -> bool:
        """Say whether a frame of this kind and market is for this hub."""
        return ticker in (self.tops if kind == "top" else self.books)


@dataclass(slots=True)
class Wishes:
    """The wishes of all hubs, and since when each kept market is wanted by nobody."""

    hubs: dict[str, Wish] = field(default_factory=dict)
    standing: frozenset[str] = frozenset()  # of the desk's own process, until it says otherwise
    _idle_since: dict[str, int] = field(default_factory=dict)

    def renew(self, hub: str, books: Iterable[str], tops: Iterable[str], now: int, *, pace_ms: int = USUAL_MS) -> None:
        """Take a hub's full wish."""
        wish = self.hubs.setdefault(hub, Wish())
        wish.books, wish.tops, wish.until, wish.pace_ms = frozenset(books), frozenset(tops), now + LEASE_MS, pace_ms
        wish.tops_told &= wish.tops

    def take_tops(self, hub: str, now: int, *, is_anew: bool = False) -> frozenset[str]:
        """Return the wished tops that a hub is to be told, and count them as told: the new ones, now and then all.

        `is_anew`: the hub may have lost whatever it was told.
        """
        wish = self.hubs[hub]
        if is_anew or wish.tops_told_at is None or now - wish.tops_told_at >= TOPS_AGAIN_MS:
            wish.tops_told, wish.tops_told_at = frozenset(), now
        due, wish.tops_told = wish.tops - wish.tops_told, wish.tops
        return due

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
        return self.standing.union(*(wish.books | wish.tops for wish in self.hubs.values()))

    def let_go(self, kept: Iterable[str], now: int) -> list[str]:
        """Return those of the kept markets that nobody has wanted for a while."""
        wanted = self.wanted()
        idle = {ticker for ticker in kept if ticker not in wanted}
        self._idle_since = {ticker: self._idle_since.get(ticker, now) for ticker in idle}
        return sorted(ticker for ticker, since in self._idle_since.items() if now - since >= LINGER_MS)
