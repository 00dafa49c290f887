"""What a page holds of a market, folded from frames by the rules of `static/js/book.js`, written a second time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class PageBook:
    """One market as a page knows it: a book replaces, everything else must carry the next number of the same epoch."""

    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    epoch: str | None = None
    number: int = -1
    state: str = "RESYNC"
    why: str = ""
    up: list[int | None] | None = None
    is_whole: bool = False

    def apply(self, frame: dict[str, Any]) -> str:
        """Take one frame; return applied, hole, old or ignored."""
        if frame["t"] == "book":
            return self._replace(frame)
        if frame["t"] not in {"delta", "state"}:
            return "ignored"
        is_ours = self.is_whole and frame["e"] == self.epoch
        if is_ours and frame["n"] == self.number:
            return "old"
        if not is_ours or frame["n"] != self.number + 1:
            return self._doubt()
        self.number = frame["n"]
        if frame["t"] == "state":
            self.state, self.why = frame["state"], frame["why"]
            return "applied"
        for side, levels in ((self.bids, frame["b"]), (self.asks, frame["a"])):
            for price, size in levels:
                side[price] = size
                if not size:
                    del side[price]
        self.up = frame["up"]
        return "applied"

    @property
    def shown(self) -> str:
        """The label as far as the frames decide it."""
        return self.state if self.is_whole else "RESYNC"

    def _replace(self, frame: dict[str, Any]) -> str:
        if self.is_whole and frame["e"] == self.epoch and frame["n"] < self.number:
            return self._doubt()
        self.bids = dict(frame["bids"])
        self.asks = dict(frame["asks"])
        self.epoch, self.number, self.up = frame["e"], frame["n"], frame["up"]
        self.state, self.why = frame["state"], frame["why"]
        self.is_whole = True
        return "applied"

    def _doubt(self) -> str:
        self.is_whole = False
        return "hole"
