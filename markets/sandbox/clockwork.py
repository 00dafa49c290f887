"""The exchange's time: handed in from outside, and a list of what is due when."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Anything that says what time it is."""

    def now_us(self) -> int:
        """Return microseconds since 1970, never less than it said before."""


class SystemClock:
    """The machine's time, kept from running backwards."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def now_us(self) -> int:
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last


@dataclass(slots=True)
class ManualClock:
    """A clock that stands still until it is moved."""

    us: int = 1_795_356_000_000_000

    def now_us(self) -> int:
        return self.us

    def advance(self, us: int) -> None:
        """Move time forward by so many microseconds."""
        if us < 0:
            raise ValueError("the exchange's time does not run backwards")
        self.us += us


@dataclass(slots=True)
class Timers:
    """What is due when: (time, rank, key), lowest first; rank orders what falls on one instant."""

    heap: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, due_us: int, rank: int, key: str) -> None:
        """Note that `key` is due; whoever is called checks whether it still applies."""
        heapq.heappush(self.heap, (due_us, rank, key))

    def next_due(self) -> int | None:
        """Return the time of the next timer."""
        return self.heap[0][0] if self.heap else None

    def due(self, now_us: int) -> Iterator[tuple[int, int, str]]:
        """Take out what is due by now, in order; what is added meanwhile comes too."""
        while self.heap and self.heap[0][0] <= now_us:
            yield heapq.heappop(self.heap)
