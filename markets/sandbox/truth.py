"""What really happened at this exchange: an append-only record that every judge of a client can trust.

One JSON object a line, numbered from 1 without holes: each request with what was decided about it, each order, each
fill. What a fault then did to the answer stands beside the decision, so that a lost answer is told from a lost order.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

import msgspec

KEPT_LINES = 500_000

_encode = msgspec.json.encode


class Truth:
    """The record since the start; the oldest lines go when it grows beyond `kept`."""

    def __init__(self, kept: int = KEPT_LINES) -> None:
        self._lines: deque[bytes] = deque(maxlen=kept)
        self.count = 0

    def record(self, kind: str, at_ms: int, **facts: Any) -> int:
        """Append one line and return its number."""
        self.count += 1
        self._lines.append(_encode({"n": self.count, "kind": kind, "at_ms": at_ms, **facts}))
        return self.count

    def since(self, number: int) -> bytes:
        """Return every kept line after that number, each ended by a newline."""
        first = self.count - len(self._lines)
        lines = islice(self._lines, max(0, number - first), None)
        return b"".join(line + b"\n" for line in lines)
