"""The numbers of one subscription's messages: next, duplicate, gap are three different answers.

`seq` belongs to a (connection, sid), spans all its markets, and every frame of the sid takes one: snapshots, changes,
`ok` and errors alike. Source: Kalshi trade API v2, recorded connection (268 frames, 1…268 only if `ok` is counted).
"""

from __future__ import annotations

from enum import Enum

OLD_MOST = 20  # so many old numbers in a row are no repetition: the exchange counts anew


class Order(Enum):
    """How a message stands to the one before it."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    GAP = "gap"


class Numbers:
    """Counts one sid, from 1."""

    __slots__ = ("_old", "expected")

    def __init__(self) -> None:
        self.expected = 1
        self._old = 0

    def take(self, seq: int) -> Order:
        """Say how `seq` stands to what came before, and go on from it unless it is old."""
        if seq == self.expected:
            self.expected += 1
            self._old = 0
            return Order.NEXT
        if seq < self.expected and self._old < OLD_MOST:
            self._old += 1
            return Order.DUPLICATE
        self.expected = seq + 1
        self._old = 0
        return Order.GAP
