"""The numbers of one subscription's messages: next, duplicate, gap are three different answers.

`seq` belongs to a (connection, sid), spans all its markets, and every frame of the sid takes one: snapshots, changes,
`ok` and errors alike. An old number is a repetition only where the message is one that has been heard, or one that was
missed a moment ago; else the exchange counts anew, and nothing of before may be continued.
Source: Kalshi trade API v2, recorded connection (268 frames, 1…268 only if `ok` is counted).
"""

from __future__ import annotations

from collections import deque
from enum import Enum

HEARD_KEPT = 256  # messages a repetition is told by
LATE_MOST = 32  # so far behind may a message come that others have overtaken


class Order(Enum):
    """How a message stands to the one before it."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    GAP = "gap"


class Numbers:
    """Counts one sid, from 1.

    Whoever counts `expected` up by himself adds the message to `heard`, and may do so only while `is_steady`: after the
    count has begun anew, an old message may carry the very number that is expected.
    """

    __slots__ = ("_missed", "_since_anew", "expected", "heard", "is_steady")

    def __init__(self) -> None:
        self.expected = 1
        self.is_steady = True
        self._since_anew = 0
        self.heard: deque[object] = deque(maxlen=HEARD_KEPT)
        self._missed: set[int] = set()

    def take(self, seq: int, message: object = None) -> Order:
        """Say how `seq` stands to what came before, and go on from it unless it is old.

        Of a message that could not be read the number alone is known.
        """
        heard = seq if message is None else message
        if (seq != self.expected or not self.is_steady) and self._is_old(seq, heard):
            return Order.DUPLICATE
        order = Order.NEXT if seq == self.expected else Order.GAP
        if seq > self.expected:
            self._miss(seq)
        elif seq < self.expected:
            self._missed.clear()
            self.is_steady, self._since_anew = False, 0
        self.expected = seq + 1
        self.heard.append(heard)
        self._settle()
        return order

    def _settle(self) -> None:
        """Trust numbers alone again once no message of the former count is remembered."""
        if not self.is_steady:
            self._since_anew += 1
            self.is_steady = self._since_anew > HEARD_KEPT

    def _is_old(self, seq: int, heard: object) -> bool:
        if seq in self._missed:
            self._missed.discard(seq)
            self.heard.append(heard)
            return True
        return heard in self.heard

    def _miss(self, seq: int) -> None:
        """Note which messages were overtaken by this one."""
        first = seq - LATE_MOST
        self._missed = {number for number in self._missed if number >= first}
        self._missed.update(range(max(first, self.expected), seq))
